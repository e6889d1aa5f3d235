/** The sudoers file's line, real sudo and the executable: what an ordinary user may say besides the line, and what becomes of it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { LIMANET } from "../support/lab.ts";
import { Home } from "../support/machines.ts";
import { canUseSudo, PrivateEtc } from "../support/private-etc.ts";

const LIMIT = 120_000;
const PROGRAM = "/opt/limanet/bin/socket_vmnet";
const PID_FILE = "/run/limanet/shared_socket_vmnet.pid";

describe.skipIf(!canUseSudo)("sudo, as the sudoers file has it", () => {
  let etc: PrivateEtc;
  let home: Home;
  /** root's command that starts the shared network */
  let line: string[];
  const sudo = (...words: string[]) => [
    ...["sudo", "--user", "root", "--group", "root", "--non-interactive"],
    ...words,
  ];
  /** variables of a user's who wants root to run his file */
  const hostile = () => ({
    BUN_OPTIONS: `--preload ${home.path("mark.js")}`,
    BUN_JSC_useConcurrentJIT: "0",
    NODE_OPTIONS: `--require ${home.path("mark.js")}`,
    LD_LIBRARY_PATH: home.folder,
    TMPDIR: home.folder,
    LIMANET_HOME: home.folder,
  });

  beforeAll(async () => {
    etc = new PrivateEtc({ hasNetwork: true, more: "ip link set lo up" });
    await etc.open();
    await etc.must(["install", "-D", "-m", "755", LIMANET, PROGRAM]);
    home = new Home(".cache/guest", [], etc.enter);
    writeFileSync(
      home.path("mark.js"),
      `require("fs").writeFileSync(${JSON.stringify(home.path("mark"))}, "")`,
    );
    await home.must("network", "list");
    const text = await home.must("sudoers");
    await etc.write("/etc/sudoers.d/limanet", text, "644");
    const start = text.split("\n").find((each) => each.includes("--vmnet-mode=shared"))!;
    line = start.trim().replace(/, \\$/, "").split(" ");
    expect(line[0]).toBe(PROGRAM);
    await etc.must(["mkdir", "-p", "/run/limanet"]);
  }, LIMIT);
  afterAll(async () => {
    await home.close();
    await etc.close();
  }, LIMIT);

  test(
    "no variable may be set for root",
    async () => {
      for (const said of ["BUN_BE_BUN=1", "LD_PRELOAD=/x.so", "PATH=/tmp"]) {
        const { code, stderr } = await home.run(sudo(said, ...line));
        expect([code, stderr]).toEqual([1, expect.stringContaining("not allowed to set")]);
      }
      const { code, stderr } = await home.run([...sudo("--preserve-env"), ...line]);
      expect([code, stderr]).toEqual([1, expect.stringContaining("preserve the environment")]);
    },
    LIMIT,
  );

  test.each<[string, (words: string[]) => string[]]>([
    [
      "another pid file",
      (words) => words.map((word) => word.replace("/run/limanet/shared", "/etc/x")),
    ],
    ["another group", (words) => words.map((word) => word.replace(/group=.*/, "group=root"))],
    ["one word more", (words) => [...words, "--cleanup"]],
    ["one word less", (words) => words.slice(0, -1)],
    ["another command of the executable", ([program]) => [program!, "version"]],
  ])(
    "%s is another command, which wants a password",
    async (_what, change) => {
      const { code, stderr } = await home.run(sudo(...change(line)));
      expect([code, stderr]).toEqual([1, expect.stringContaining("password is required")]);
    },
    LIMIT,
  );

  test(
    "what the user has in his environment reaches no daemon of root's",
    async () => {
      const child = home.spawn(sudo(...line), hostile());
      while ((await etc.root(["test", "-s", PID_FILE])).code !== 0) {
        expect(child.exitCode).toBe(null);
        await Bun.sleep(50);
      }
      const pid = Number(await etc.must(["cat", PID_FILE]));
      expect(readFileSync(`/proc/${pid}/environ`, "utf8")).toBe(
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin\0",
      );
      expect(existsSync(home.path("mark"))).toBe(false);
      expect((await home.run(sudo("/usr/bin/pkill", "-F", PID_FILE))).code).toBe(0);
      await child.exited;
    },
    LIMIT,
  );
});
