/**
 * limanet compiled as scripts/build does it, with two modules changed on the way: the one that loads the library of
 * Virtualization.framework loads the fake, and Linux counts as a host for vmType vz. The product has neither.
 */
import { expect } from "bun:test";
import { join } from "node:path";

const ROOT = new URL("../..", import.meta.url).pathname;

/** what is changed in a module, and into what */
const changes = (library: string): Record<string, [from: string, to: string]> => ({
  "lib/host/vz-library.ts": ['loadLibrary("limanet-vz", open)', `open(${JSON.stringify(library)})`],
  "lib/driver/vm-type.ts": ['host.platform !== "darwin"', "false"],
});

/** `library`: the fake, where the user of the executable can read it. */
export async function buildOnFakeVz(outfile: string, library: string): Promise<void> {
  const entries = [
    "main.ts",
    "lib/daemon/network/engine-thread.ts",
    "lib/daemon/vmnet/switch-thread.ts",
    "lib/daemon/relay/relay-thread.ts",
    "lib/host/resolver-thread.ts",
  ];
  const changed: string[] = [];
  const built = await Bun.build({
    entrypoints: entries.map((entry) => join(ROOT, entry)),
    compile: { outfile, autoloadDotenv: false, autoloadBunfig: false },
    root: ROOT,
    plugins: [
      {
        name: "fake vz",
        setup(build) {
          build.onLoad(
            { filter: /\/lib\/(host\/vz-library|driver\/vm-type)\.ts$/ },
            async (file) => {
              const module = file.path.slice(ROOT.length);
              const [from, to] = changes(library)[module]!;
              const text = await Bun.file(file.path).text();
              if (text.includes(from)) changed.push(module);
              return { contents: text.replace(from, to), loader: "ts" };
            },
          );
        },
      },
    ],
  });
  expect(built.success).toBe(true);
  expect(changed.toSorted()).toEqual(Object.keys(changes("")).toSorted());
}
