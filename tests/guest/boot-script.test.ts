/**
 * The boot scripts as a guest runs them: as root, with real network cards and real iptables, in namespaces of their own
 * where /etc, /run and /sys are the guest's.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BOOT_SCRIPT, nicRepairScript } from "../../lib/guest/boot-script.ts";
import { cidataFiles, type GuestFacts } from "../../lib/guest/cidata.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("skipped: boot scripts in namespaces (they need root)\n");

const FACTS: GuestFacts = {
  name: "vm",
  hostname: "lima-vm",
  instanceId: "iid-1",
  user: { name: "root", uid: 0, home: "/root", shell: "/bin/sh" },
  sshKeys: [],
  netplanOptional: false,
  nics: [
    { mac: "52:55:55:00:00:01", name: "eth0", metric: 200 },
    { mac: "52:55:55:00:00:02", name: "lima1", metric: 100 },
  ],
  dns: [],
  gateway: "192.168.5.2",
  dnsAddress: "192.168.5.3",
  address: "192.168.5.15",
  dnsPorts: { udp: 0, tcp: 0 },
  environment: {},
  provision: [],
  vmType: "qemu",
  plain: false,
};
const PORTS = { udp: 5301, tcp: 5302 };
/** sh is dash on Debian; BusyBox's is what small guests have */
const SHELLS = [["sh"], ["busybox", "sh"]];

test("the scripts are what shellcheck wants", () => {
  const folder = mkdtempSync(join(tmpdir(), "limanet-scripts-"));
  writeFileSync(join(folder, "boot.sh"), BOOT_SCRIPT);
  writeFileSync(join(folder, "nics.sh"), `#!/bin/sh\n${nicRepairScript(FACTS.nics)}`);
  const checked = Bun.spawnSync(["shellcheck", join(folder, "boot.sh"), join(folder, "nics.sh")]);
  rmSync(folder, { recursive: true });
  expect(checked.stdout.toString()).toBe("");
  expect(checked.exitCode).toBe(0);
});

let root: string;
const file = (path: string) => join(root, path);
const read = (path: string) => readFileSync(file(path), "utf8");

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "limanet-guest-"));
  for (const folder of ["etc", "run", "cidata", "bin"]) mkdirSync(file(folder));
  // what the programs of this machine need of /etc
  for (const name of [
    "passwd",
    "group",
    "nsswitch.conf",
    "alternatives",
    "pam.d",
    "security",
    "login.defs",
    "shadow",
    "protocols",
  ])
    if (existsSync(`/etc/${name}`))
      cpSync(`/etc/${name}`, file(`etc/${name}`), { recursive: true, verbatimSymlinks: true });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Runs shell text as root of the guest; what it printed. Nothing of it is left in this machine's namespaces. */
function guest(
  text: string,
  path = `${process.env["PATH"]}`,
): { out: string; err: string; code: number } {
  const inside = `
mount --make-rprivate /
mount -t sysfs sys /sys
mount --bind ${file("run")} /run
mount --bind ${file("etc")} /etc
ip link set lo up
${text}`;
  const ran = Bun.spawnSync(["unshare", "-m", "-n", "-u", "sh", "-c", inside], {
    env: { PATH: path, PWD: "/" },
    cwd: "/",
  });
  return { out: ran.stdout.toString(), err: ran.stderr.toString(), code: ran.exitCode };
}

function writeCidata(facts: Partial<GuestFacts>): void {
  for (const { name, content, mode } of cidataFiles({ ...FACTS, ...facts }))
    writeFileSync(file(`cidata/${name}`), content, { mode });
}
const boot = (shell: readonly string[]) => `${shell.join(" ")} ${file("cidata/boot.sh")}`;

describe.skipIf(!isRoot).each(SHELLS.map((shell) => ({ shell, name: shell.join(" ") })))(
  "boot.sh in $name",
  ({ shell }) => {
    test("/etc/hosts has the host once, in place of old lines, and keeps all others", () => {
      writeFileSync(
        file("etc/hosts"),
        "127.0.0.1\tlocalhost\n10.9.9.9 host.lima.internal old\n# host.lima.internal\n::1 ip6\n\n203.0.113.1 a\n",
      );
      writeCidata({});
      expect(guest(boot(shell))).toEqual({ out: "", err: "", code: 0 });
      const expected =
        "127.0.0.1\tlocalhost\n::1 ip6\n\n203.0.113.1 a\n192.168.5.2\thost.lima.internal\n";
      expect(read("etc/hosts")).toBe(expected);
      writeCidata({ instanceId: "iid-2", gateway: "192.168.104.2" });
      guest(boot(shell));
      expect(read("etc/hosts")).toBe(expected.replace("192.168.5.2", "192.168.104.2"));
    });

    test("/etc/hosts is made where there is none", () => {
      writeCidata({});
      guest(boot(shell));
      expect(read("etc/hosts")).toBe("192.168.5.2\thost.lima.internal\n");
    });

    test("/etc/environment has the block once, replaced at the next boot and gone with the last variable", () => {
      writeFileSync(file("etc/environment"), "LANG=C\n");
      writeCidata({ environment: { A: "two words", B: "$HOME 'q'" } });
      guest(boot(shell));
      expect(read("etc/environment")).toBe(
        "LANG=C\n#LIMA-START\nA=two words\nB=$HOME 'q'\n#LIMA-END\n",
      );
      writeCidata({ instanceId: "iid-2", environment: { A: "1" } });
      guest(boot(shell));
      expect(read("etc/environment")).toBe("LANG=C\n#LIMA-START\nA=1\n#LIMA-END\n");
      writeCidata({ instanceId: "iid-3" });
      guest(boot(shell));
      expect(read("etc/environment")).toBe("LANG=C\n");
    });

    test("it does its work once a boot, and says how far it has come", () => {
      writeCidata({
        provision: [
          { mode: "system", script: "#!/bin/sh\necho ran\n" },
          { mode: "system", script: "#!/bin/sh\nexit 1\n" },
        ],
      });
      const first = guest(`${boot(shell)}; ${boot(shell)}`);
      expect(first.out).toBe("ran\n");
      expect(first.err).toBe("limanet: a provision script has failed\n");
      expect([read("run/lima-ssh-ready"), read("run/lima-boot-done")]).toEqual([
        "iid-1\n",
        "iid-1\n",
      ]);
      writeCidata({
        instanceId: "iid-2",
        provision: [{ mode: "system", script: "#!/bin/sh\necho again\n" }],
      });
      expect(guest(boot(shell)).out).toContain("again\n");
      expect(read("run/lima-boot-done")).toBe("iid-2\n");
    });

    test("DNS of the network's DNS address leads to the responder's ports, also when run again with others", () => {
      writeCidata({ dnsPorts: PORTS });
      const { out, err } = guest(`
iptables -t nat -A OUTPUT -d 203.0.113.1 -j ACCEPT
${boot(shell)}
rm /run/lima-boot-done
sed -i s/5301/5311/ ${file("cidata/lima.env")}
${boot(shell)}
iptables -t nat -S
echo --
rm /run/lima-boot-done
sed -i 's/DNS_LOCAL_PORT=.*/DNS_LOCAL_PORT=0/' ${file("cidata/lima.env")}
${boot(shell)}
iptables -t nat -S LIMADNS`);
      expect(err).toBe("");
      const [rules = "", flushed = ""] = out.split("--\n");
      expect(rules.split("\n").filter((line) => line.startsWith("-A"))).toEqual([
        "-A PREROUTING -j LIMADNS",
        "-A OUTPUT -j LIMADNS",
        "-A OUTPUT -d 203.0.113.1/32 -j ACCEPT",
        "-A LIMADNS -d 192.168.5.3/32 -p udp -m udp --dport 53 -j DNAT --to-destination 192.168.5.2:5311",
        "-A LIMADNS -d 192.168.5.3/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination 192.168.5.2:5302",
      ]);
      expect(flushed).toBe("-N LIMADNS\n");
    });

    test("plain: nothing is touched, and the marks are set", () => {
      writeFileSync(file("etc/hosts"), "10.9.9.9 host.lima.internal\n");
      writeCidata({ plain: true, dnsPorts: PORTS, environment: { A: "1" } });
      const { out } = guest(`${boot(shell)}; iptables -t nat -S`);
      expect(out).not.toContain("LIMADNS");
      expect(read("etc/hosts")).toBe("10.9.9.9 host.lima.internal\n");
      expect(existsSync(file("etc/environment"))).toBe(false);
      expect(read("run/lima-boot-done")).toBe("iid-1\n");
    });

    test("a part that fails is told and does not keep the others from being done", () => {
      mkdirSync(file("etc/hosts"));
      writeCidata({ environment: { A: "1" } });
      expect(guest(boot(shell)).err).toContain("limanet: writing /etc/hosts has failed");
      expect(read("etc/environment")).toContain("A=1");
      expect(read("run/lima-boot-done")).toBe("iid-1\n");
    });
  },
);

/** Programs of the guest: BusyBox, and a package manager that says how it was called and brings the real iptables. */
function onlyPrograms(manager: string, more = ""): string {
  for (const name of [
    "sh",
    "cat",
    "grep",
    "sed",
    "dirname",
    "mkdir",
    "mv",
    "touch",
    "mount",
    "ip",
    "rm",
  ])
    Bun.spawnSync(["ln", "-s", Bun.which("busybox")!, file(`bin/${name}`)]);
  const install = `[ "$1" = update ] || ${Bun.which("ln")} -s ${Bun.which("iptables")} ${file("bin/iptables")}`;
  writeFileSync(file(`bin/${manager}`), `#!/bin/sh\necho "${manager} $*"\n${more || install}\n`, {
    mode: 0o755,
  });
  Bun.spawnSync(["ln", "-s", Bun.which("unshare")!, file("bin/unshare")]);
  return file("bin");
}

describe.skipIf(!isRoot)("a guest without iptables", () => {
  test.each([
    ["apt-get", "apt-get update\napt-get install -y --no-install-recommends iptables\n"],
    ["dnf", "dnf install -y iptables-nft\n"],
    ["apk", "apk add iptables\n"],
    ["zypper", "zypper --non-interactive install -y --no-recommends iptables\n"],
    ["pacman", "pacman -Sy --noconfirm --needed iptables\n"],
  ])("gets it by %s, and the redirection after it", (manager, said) => {
    writeCidata({ dnsPorts: PORTS });
    const { out, err } = guest(
      `${boot(["sh"])}; ${Bun.which("iptables")} -t nat -S LIMADNS`,
      onlyPrograms(manager),
    );
    expect(err).toBe("");
    expect(out).toStartWith(said);
    expect(out).toContain("--to-destination 192.168.5.2:5301");
  });

  test("is left without it when nothing is to be redirected", () => {
    writeCidata({});
    expect(guest(boot(["sh"]), onlyPrograms("apk")).out).toBe("");
  });

  test("goes on when it cannot be installed", () => {
    writeCidata({ dnsPorts: PORTS });
    const { err } = guest(boot(["sh"]), onlyPrograms("apk", "exit 1"));
    expect(err).toBe("limanet: installing iptables has failed\n");
    expect(read("run/lima-boot-done")).toBe("iid-1\n");
  });
});

describe.skipIf(!isRoot)("mDNS", () => {
  /** stands for a systemd, which cannot run in a namespace: says how it was called */
  const systemd = () => {
    for (const name of ["resolvectl", "systemctl"])
      writeFileSync(file(`bin/${name}`), `#!/bin/sh\necho "${name} $*"\n`, { mode: 0o755 });
    return `${file("bin")}:${process.env["PATH"]}`;
  };
  test("is switched on for all and for each card; the resolver is restarted only for a new file", () => {
    mkdirSync(file("run/systemd/system"), { recursive: true });
    writeCidata({});
    const links = "resolvectl mdns eth0 yes\nresolvectl mdns lima1 yes\n";
    expect(guest(boot(["sh"]), systemd())).toEqual({
      out: `systemctl try-restart systemd-resolved\n${links}`,
      err: "",
      code: 0,
    });
    expect(read("etc/systemd/resolved.conf.d/00-lima-enable-mdns.conf")).toBe(
      "[Resolve]\nMulticastDNS=yes\n",
    );
    writeCidata({ instanceId: "iid-2" });
    expect(guest(boot(["sh"]), systemd()).out).toBe(links);
  });
  test("is left alone where systemd does not run", () => {
    writeCidata({});
    expect(guest(boot(["sh"]), systemd()).out).toBe("");
  });
});

describe.skipIf(!isRoot)("network cards with wrong names", () => {
  const run = (text: string, shell: readonly string[]) => {
    writeFileSync(file("nics.sh"), nicRepairScript(FACTS.nics));
    return guest(text.replaceAll("REPAIR", `${shell.join(" ")} ${file("nics.sh")}`));
  };
  const CARDS = `
ip link add enp7 address 52:55:55:00:00:02 type veth peer name penp7
ip link add enp8 address 52:55:55:00:00:01 type veth peer name penp8
ip addr add 198.51.100.7/24 dev enp8
ip link set enp8 up
ip link set penp7 up
ip link set penp8 up
`;
  test.each(SHELLS.map((shell) => [shell.join(" "), shell] as const))(
    "get the names that belong to their addresses, once and for all: %s",
    (_name, shell) => {
      const { out, err } = run(
        `${CARDS}
REPAIR
for card in eth0 lima1; do echo "$card $(cat /sys/class/net/$card/address /sys/class/net/$card/operstate)"; done
ip addr add 198.51.100.8/24 dev lima1
REPAIR
ip -o -4 addr show dev lima1`,
        shell,
      );
      expect(err).toBe("");
      expect(out).toStartWith("eth0 52:55:55:00:00:01\nup\nlima1 52:55:55:00:00:02\nup\n");
      // a card whose name is right is not taken down again
      expect(out).toContain("198.51.100.8/24");
    },
  );

  test("a card that is not there is told, and the others are named all the same", () => {
    const { out, err } = run(
      `ip link add enp8 address 52:55:55:00:00:02 type veth peer name penp8
ip link add eth0 address 52:55:55:00:00:99 type veth peer name peth0
ip addr add 198.51.100.7/24 dev eth0
ip link del enp8
REPAIR
ls /sys/class/net`,
      ["sh"],
    );
    expect(err).toBe(
      "limanet: no network card could be named lima1 (its hardware address is 52:55:55:00:00:02)\n",
    );
    expect(out).toContain("eth0");
  });

  test("the address of the first card is waited for", () => {
    const { out, err } = run(
      `ip link add eth0 address 52:55:55:00:00:01 type veth peer name peth0
ip link add lima1 address 52:55:55:00:00:02 type veth peer name plima1
(sleep 1.5; echo late; ip addr add 198.51.100.7/24 dev eth0) &
REPAIR
echo done`,
      ["sh"],
    );
    expect([out, err]).toEqual(["late\ndone\n", ""]);
  });
});
