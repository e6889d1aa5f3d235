/** Progress of downloads: drawn on a terminal, when the length is known. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { statSync } from "node:fs";
import { join } from "node:path";
import { download } from "../../lib/host/download.ts";
import { LimaHome } from "../support/lima-home.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const ON_TERMINAL = ["python3", "-c", "import pty, sys; pty.spawn(sys.argv[1:])"];
const TEMPLATE = `images: [{ location: /nowhere, arch: x86_64 }]\n# ${"x".repeat(100_000)}\n`;

let home: LimaHome;
let server: Bun.Server<undefined>;
beforeAll(() => {
  home = new LimaHome({});
  server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url }) =>
      url.includes("untold")
        ? new Response(
            new ReadableStream({ start: (stream) => (stream.enqueue(TEMPLATE), stream.close()) }),
          )
        : new Response(TEMPLATE),
  });
});
afterAll(async () => {
  await server.stop(true);
  home.close();
});

/** Checks a template that has to be fetched; what is seen of it. */
async function fetched(name: string, isTerminal: boolean, TERM = "xterm"): Promise<string> {
  const url = `http://127.0.0.1:${server.port}/${name}.yaml`;
  const words = [process.execPath, MAIN, "validate", url];
  const child = Bun.spawn([...(isTerminal ? ON_TERMINAL : []), ...words], {
    env: { PATH: process.env["PATH"], HOME: home.folder, LIMANET_HOME: home.folder, TERM },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, error] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect(out).toContain(`${url}: OK`);
  return out + error;
}

test.each([
  ["on a terminal", "told", true, "xterm", true],
  ["on a terminal that cannot draw", "dumb", true, "dumb", false],
  ["on a terminal, of a length that is not told", "untold", true, "xterm", false],
  ["into a pipe", "piped", false, "xterm", false],
] as const)("%s", async (_, name, isTerminal, term, isDrawn) => {
  const seen = await fetched(name, isTerminal, term);
  expect(seen.includes("100 % of 1 MiB")).toBe(isDrawn);
  expect(seen.includes("\u001B")).toBe(isDrawn);
});

test("whatever the umask says, nobody else may change what was fetched", async () => {
  const path = join(home.folder, "fetched");
  const before = process.umask(0);
  try {
    await download(`http://127.0.0.1:${server.port}/told.yaml`, path);
  } finally {
    process.umask(before);
  }
  expect((statSync(path).mode & 0o7777).toString(8)).toBe("644");
});
