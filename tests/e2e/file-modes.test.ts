/** Who may read and write what limanet makes for a user, whatever his umask says: from the moment it is there. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Home } from "../support/machines.ts";

let home: Home;
beforeEach(() => {
  home = new Home(".cache/guest", []);
});
afterEach(() => home.close());

/** the command with a umask of the user's */
const withUmask = (umask: string, ...words: string[]) => [
  ...["sh", "-c", `umask ${umask}; exec "$@"`, "sh", home.path("limanet")],
  ...words,
];
const modeOf = (path: string): string => (statSync(path).mode & 0o7777).toString(8);
/** below a folder, whatever others may write to, which links are not asked about */
const writable = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isSymbolicLink())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => (statSync(path).mode & 0o022) !== 0);

test.each(["000", "077"])(
  "with umask %s folders with settings are the user's alone",
  async (umask) => {
    const template = home.template("guest", "images: [{ location: /nowhere }]\nplain: true\n");
    for (const words of [
      ["network", "list"],
      ["network", "create", "lab", "--gateway", "192.168.42.1/24"],
      ["create", "--name", "vm", template],
    ]) {
      const { code, stderr } = await home.run(withUmask(umask, ...words));
      expect([words[0], code, stderr.replace(/.*warning.*\n/g, "")]).toEqual([words[0]!, 0, ""]);
    }
    expect(modeOf(join(home.limanetHome, "_config"))).toBe("700");
    expect(modeOf(join(home.limanetHome, "vm"))).toBe("700");
    expect(writable(home.limanetHome)).toEqual([]);
  },
);

test.each(["000", "077"])(
  "with umask %s a network's sockets and capture are the user's alone",
  async (umask) => {
    const at = (name: string) => home.path(name);
    const daemon = home.spawn(
      withUmask(
        umask,
        ...["usernet", "--pidfile", at("net.pid"), "--endpoint", at("api.sock")],
        ...["--listen-qemu", at("qemu.sock"), "--listen-vfkit", at("vfkit.sock")],
        ...["--capture", at("net.pcap"), "--subnet", "192.168.44.0/24"],
      ),
    );
    let said = "";
    for await (const chunk of daemon.stderr) {
      said += new TextDecoder().decode(chunk);
      if (said.includes("network ready")) break;
    }
    const made = ["api.sock", "qemu.sock", "vfkit.sock", "net.pcap"].filter((name) =>
      existsSync(at(name)),
    );
    expect(made).toEqual(["api.sock", "qemu.sock", "vfkit.sock", "net.pcap"]);
    for (const name of made) expect([name, modeOf(at(name))]).toEqual([name, "600"]);
    expect(modeOf(at("net.pid"))).toBe(umask === "000" ? "644" : "600");
    daemon.kill("SIGTERM");
    await daemon.exited;
  },
);
