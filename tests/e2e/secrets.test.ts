/** What only the user may know stays with the user: what a machine's files tell others, what logs, command lines and reports tell anybody. */
import { afterAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { guestYaml, Home } from "../support/machines.ts";

const LIMIT = 240_000;
const SECRET = "correct-horse-battery";
const home = new Home(".cache/guest", ["vmlinuz", "initrd"]);
afterAll(() => home.close(), LIMIT);

/** the files below a folder, sockets among them */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}

test(
  "a machine's secrets are in no log, command line or report, and its keys and sockets are the user's alone",
  async () => {
    const proxy = `http://me:${SECRET}@192.0.2.1:3128`;
    const vm = home.template(
      "vm",
      guestYaml(
        home,
        `env: { TOKEN: ${SECRET}, http_proxy: "${proxy}" }\nnetworks: [{ lima: user-v2 }]`,
      ),
    );
    const outputs: string[] = [];
    // an umask that keeps nothing from anybody: limanet's own has to do it
    const limanet = async (...words: string[]) => {
      const command = ["sh", "-c", 'umask 000; exec "$@"', "sh", home.path("limanet")];
      const { code, stdout, stderr } = await home.run(
        [...command, "--log-level", "debug", ...words],
        {
          https_proxy: proxy,
        },
      );
      outputs.push(stdout, stderr);
      return code;
    };
    expect(await limanet("start", "--name", "vm", vm)).toBe(0);
    // the guest has it
    expect(await home.must("shell", "vm", "cat", "/etc/environment")).toContain(SECRET);
    outputs.length = 2;
    for (const words of [
      ["list", "--json"],
      ["doctor"],
      ["doctor", "--json"],
      ["network", "show", "user-v2"],
    ])
      await limanet(...words);
    const { stdout: processes } = await home.run(["ps", "-eo", "args"]);
    expect(processes).toContain("qemu-system");
    for (const output of [...outputs, processes]) expect(output).not.toContain(SECRET);

    const files = filesIn(home.limanetHome);
    const logs = files.filter((file) => file.endsWith(".log"));
    expect(logs.length).toBeGreaterThan(4);
    for (const log of logs)
      expect({ log, text: readFileSync(log, "utf8") }).not.toMatchObject({
        text: expect.stringContaining(SECRET),
      });
    // whoever connects to a socket writes to it
    const others = (file: string, mode: number) => (statSync(file).mode & mode) !== 0;
    expect(files.filter((file) => others(file, 0o022))).toEqual([]);
    // lima.yaml may say secrets: its folder is closed
    expect(statSync(join(home.limanetHome, "vm")).mode & 0o077).toBe(0);
    const isRead = (file: string) =>
      /\.(log|pid|pub|yaml|lock|sock)$|-version$|disk$|leases/.test(file);
    expect(files.filter((file) => others(file, 0o044) && !isRead(file))).toEqual([]);
  },
  LIMIT,
);
