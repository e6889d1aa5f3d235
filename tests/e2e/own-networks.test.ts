/**
 * Networks of mode shared that an ordinary user makes without root, since the system lets him: with CAP_NET_ADMIN here, on
 * macOS 26 and later by the executable's entitlement. There is no sudoers file, and no program for root.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { guestYaml, Home } from "../support/machines.ts";
import { canUseSudo, PrivateEtc } from "../support/private-etc.ts";

const LIMIT = 240_000;
const NOBODY = 65_534;
/** a host with a TUN device that users may open, and the user's folder of a login */
const HOST = `
ip link set lo up
mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200
mkdir -p /run/user && chown ${NOBODY} /run/user
`;
const STATE = "ip -br link; ip -br addr; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward";

describe.skipIf(!canUseSudo)("networks that an ordinary user makes", () => {
  let etc: PrivateEtc;
  let home: Home;
  let before: string;
  let socket: string;

  const state = async () => etc.must(["sh", "-c", STATE]);
  const daemon = async () => {
    const shown = await home.must("network", "show", "--json", "shared");
    return (JSON.parse(shown) as { pid?: number }).pid;
  };
  const addressOf = async (name: string): Promise<string> => {
    for (;;) {
      const shown = await home.must("shell", name, "ip", "-4", "addr", "show", "lima0");
      const address = /inet (192\.168\.105\.\d+)\/24/.exec(shown)?.[1];
      if (address !== undefined) return address;
      await Bun.sleep(100);
    }
  };

  beforeAll(async () => {
    etc = new PrivateEtc({ hasNetwork: true, more: HOST });
    await etc.open();
    home = new Home(
      ".cache/guest",
      ["vmlinuz", "initrd"],
      [...etc.enter, "env", "XDG_RUNTIME_DIR=/run/user"],
      ["net_admin", "net_bind_service"],
    );
    socket = join(home.limanetHome, "_networks/socket_vmnet.shared");
    before = await state();
  });
  afterEach(async () => {
    const names = (await home.list()).map(({ name }) => name);
    await home.limanet("delete", "--force", ...names, "none");
  }, LIMIT);
  afterAll(async () => {
    await home.close();
    await etc.close();
  }, LIMIT);

  test(
    "a machine has its network without sudo, and nothing is left of it",
    async () => {
      const vm = home.template("vm", guestYaml(home, "networks: [{ lima: shared }]"));
      const { code, stderr } = await home.limanet("start", "--name", "vm", vm);
      expect(stderr).not.toContain("sudo");
      expect(stderr).toContain(`vmnet --pidfile=`);
      expect(code).toBe(0);
      const address = await addressOf("vm");
      await etc.must(["ping", "-c", "1", "-W", "2", address]);
      const pid = await daemon();
      expect(readFileSync(`/proc/${pid}/status`, "utf8")).toMatch(
        new RegExp(`^Uid:\\t${NOBODY}\\t`, "m"),
      );
      // nobody else may attach
      expect(await etc.must(["stat", "-c", "%U %a", socket])).toBe("nobody 600");
      const doctor = await home.limanet("doctor", "privilege", "network");
      expect(doctor.stdout).toContain("0 faults");

      await etc.must(["kill", "-9", String(pid)]);
      while ((await etc.root(["ping", "-c", "1", "-W", "1", address])).code !== 0);
      expect(await daemon()).not.toBe(pid);
      expect(await addressOf("vm")).toBe(address);

      await home.must("stop", "vm");
      expect(await daemon()).toBeUndefined();
      expect(await state()).toBe(before);
    },
    LIMIT,
  );

  test(
    "what a killed daemon has left is put back by the next start",
    async () => {
      const vm = home.template("vm", guestYaml(home, "networks: [{ lima: shared }]"));
      await home.must("start", "--name", "vm", vm);
      for (const [pid, command] of home.pids())
        if (!command.startsWith("nsenter")) process.kill(pid, "SIGKILL");
      await home.must("start", "vm");
      await etc.must(["ping", "-c", "3", "-W", "2", await addressOf("vm")]);
      await home.must("delete", "--force", "vm");
      expect(await state()).toBe(before);
    },
    LIMIT,
  );
});
