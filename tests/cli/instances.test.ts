/** The commands on instances as a person runs them, as far as they need no machine. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { networkPaths } from "../../lib/config/paths.ts";
import { startNetwork } from "../../lib/daemon/reconcile.ts";
import { lockHolder } from "../../lib/host/lock.ts";
import { loadNetworks } from "../../lib/instance/settings.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const LIMIT = 20_000;
const YAML = "images:\n  - location: /nowhere.img\n    arch: x86_64\n";

let home: string;
let template: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "limanet-instances-"));
  template = join(home, ".vm.yaml");
  writeFileSync(template, YAML);
});
afterEach(() => {
  const pid = lockHolder(networkPaths(home, "user-v2").pid);
  if (pid !== 0) process.kill(pid, "SIGKILL");
  rmSync(home, { recursive: true, force: true });
});

const command = (...words: string[]) => [process.execPath, MAIN, ...words];
const limanet = (...words: string[]) => {
  const run = Bun.spawnSync(command(...words), { env: { ...process.env, LIMANET_HOME: home } });
  return { code: run.exitCode, out: run.stdout.toString(), error: run.stderr.toString() };
};
const at = (...names: string[]) => join(home, ...names);

/** Makes files below the home folder. */
function files(all: Record<string, string>): void {
  for (const [name, text] of Object.entries(all)) {
    mkdirSync(join(at(name), ".."), { recursive: true });
    writeFileSync(at(name), text);
  }
}

describe("create", () => {
  test("makes an instance, once", () => {
    expect(limanet("create", "--name", "vm", template)).toEqual({
      code: 0,
      out: "vm\n",
      error: "",
    });
    expect(readdirSync(at("vm")).toSorted()).toEqual(["lima-version", "lima.yaml"]);
    expect(limanet("create", "--name", "vm", template).error).toContain("it is there already");
  });

  test.each([
    ["an empty folder", () => mkdirSync(at("vm"))],
    ["one that holds a file nobody finished", () => files({ "vm/lima-version.77.tmp": "" })],
    ["one that is marked as ours", () => files({ "vm/lima-version": "limanet 0.1.0\n" })],
    [
      "one whose deletion was not finished",
      () => files({ "vm/lima-version": "limanet 0.1.0\n", "vm/disk": "old", "vm/serial.log": "" }),
    ],
  ])("begins anew over what somebody left who was killed: %s", (_name, left) => {
    left();
    expect(limanet("create", "--name", "vm", template).code).toBe(0);
    expect(readFileSync(at("vm/lima.yaml"), "utf8")).toBe(YAML);
    expect(existsSync(at("vm/disk"))).toBe(false);
  });

  test("does not touch a folder that holds something else", () => {
    files({ "vm/thesis.tex": "precious" });
    const { code, error } = limanet("create", "--name", "vm", template);
    expect(code).toBe(1);
    expect(error).toContain("is there already and holds something else");
    expect(readdirSync(at("vm"))).toEqual(["thesis.tex"]);
  });

  test(
    "by several at once makes one instance",
    async () => {
      const env = { ...process.env, LIMANET_HOME: home };
      const runs = [1, 2, 3, 4].map(() =>
        Bun.spawn(command("create", "--name", "vm", template), {
          env,
          stdout: "pipe",
          stderr: "pipe",
        }),
      );
      const codes = await Promise.all(runs.map(({ exited }) => exited));
      expect(codes.toSorted()).toEqual([0, 1, 1, 1]);
      expect(readFileSync(at("vm/lima.yaml"), "utf8")).toBe(YAML);
    },
    LIMIT,
  );
});

describe("an instance that Lima has made", () => {
  /** this test stands for Lima's host agent */
  const running = () =>
    files({ "theirs/lima.yaml": YAML, "theirs/ha.pid": `${process.pid}\n`, "theirs/ha.sock": "" });

  test("is listed as running while its host agent lives", () => {
    running();
    expect(JSON.parse(limanet("list", "--json").out)).toMatchObject({
      name: "theirs",
      status: "Running",
      hostAgentPID: process.pid,
    });
    files({ "theirs/ha.pid": "4194999\n" });
    expect(JSON.parse(limanet("list", "--json").out)).toMatchObject({ status: "Stopped" });
  });

  test.each([[["stop"]], [["stop", "--force"]], [["delete", "--force"]], [["start"]]])(
    "is left alone by %p",
    (words) => {
      running();
      const { code, error } = limanet(...words, "theirs");
      expect(code).toBe(1);
      expect(error).toMatch(/^limanet: Cannot .* the instance theirs: it belongs to Lima/);
      expect(readdirSync(at("theirs")).toSorted()).toEqual(["ha.pid", "ha.sock", "lima.yaml"]);
    },
  );
});

describe("stop and delete", () => {
  const ours = { "vm/lima.yaml": YAML, "vm/lima-version": "limanet 0.1.0\n" };
  const left = {
    "vm/ha.pid": "1\n",
    "vm/a.sock": "",
    "vm/b.tmp": "",
    "vm/serial.log": "",
    "vm/qemu.pid": "1\n",
  };

  test.each([[["stop"]], [["stop", "--force"]]])(
    "%p removes what a killed host agent has left",
    (words) => {
      files({ ...ours, ...left });
      expect(limanet(...words, "vm").code).toBe(0);
      expect(readdirSync(at("vm")).toSorted()).toEqual(["lima-version", "lima.yaml", "serial.log"]);
    },
  );

  test(
    "stop stops unused networks also after an error, delete does not",
    async () => {
      await startNetwork(home, "user-v2", loadNetworks(home));
      const { pid } = networkPaths(home, "user-v2");
      expect(limanet("delete", "nobody").code).toBe(1);
      expect(lockHolder(pid)).not.toBe(0);
      const { code, error } = limanet("stop", "nobody");
      expect(code).toBe(1);
      expect(error).toContain("Cannot find the instance nobody");
      expect(lockHolder(pid)).toBe(0);
    },
    LIMIT,
  );

  test("delete removes what is left of an instance that is half made, or half deleted", () => {
    files({ "vm/lima-version": "limanet 0.1.0\n", "vm/disk": "" });
    expect(limanet("delete", "vm").code).toBe(0);
    expect(existsSync(at("vm"))).toBe(false);
    files({ "vm/thesis.tex": "precious" });
    expect(limanet("delete", "--force", "vm").code).toBe(1);
    expect(existsSync(at("vm/thesis.tex"))).toBe(true);
  });

  test("delete removes the whole folder", () => {
    files({ ...ours, ...left });
    expect(limanet("delete", "vm").code).toBe(0);
    expect(existsSync(at("vm"))).toBe(false);
  });
});
