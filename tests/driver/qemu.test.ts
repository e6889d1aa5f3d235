import { describe, expect, test } from "bun:test";
import type { SwitchBackend } from "../../lib/driver/nic.ts";
import { qemuArguments, type QemuFacts } from "../../lib/driver/qemu.ts";

const SWITCH: SwitchBackend = {
  kind: "switch",
  network: "net",
  stream: "/i/net.sock",
  descriptors: "/i/fd.sock",
  absence: "told",
};
const FACTS: QemuFacts = {
  arch: "x86_64",
  accelerator: "tcg",
  version: [7, 2],
  cpus: 3,
  memory: 1024 ** 3 + 1,
  name: "vm",
  disk: { path: "/i/disk", format: "qcow2" },
  kernel: undefined,
  cmdline: undefined,
  initrd: undefined,
  cidata: "/i/cidata.iso",
  qmp: "/i/qmp.sock",
  pidFile: "/i/qemu.pid",
  serialLog: "/i/serial.log",
  nics: [{ mac: "52:55:55:00:00:01", backend: SWITCH }],
};
/** the value behind an option, or all of them */
const values = (facts: Partial<QemuFacts>, option: string) => {
  const args = qemuArguments({ ...FACTS, ...facts });
  return args.filter((_, i) => args[i - 1] === option);
};

describe("qemuArguments()", () => {
  test("gives processors, memory rounded up to MiB, disk and cidata", () => {
    expect(values({}, "-smp")).toEqual(["3"]);
    expect(values({}, "-m")).toEqual(["1025M"]);
    expect(values({}, "-drive")).toEqual([
      "file=/i/disk,if=virtio,format=qcow2,discard=on",
      "file=/i/cidata.iso,if=virtio,format=raw,readonly=on",
    ]);
  });

  test.each([
    ["x86_64", "kvm", "q35,accel=kvm", "host"],
    ["x86_64", "tcg", "q35,accel=tcg", "max"],
    ["aarch64", "hvf", "virt,accel=hvf", "host"],
  ] as const)("%s under %s is machine %s with processor %s", (arch, accelerator, machine, cpu) => {
    expect(values({ arch, accelerator }, "-machine")).toEqual([machine]);
    expect(values({ arch, accelerator }, "-cpu")).toEqual([cpu]);
  });

  test.each([
    [[7, 2], ""],
    [[8, 0], ",reconnect=1"],
    [[9, 1], ",reconnect=1"],
    [[9, 2], ",reconnect-ms=500"],
    [[10, 0], ",reconnect-ms=500"],
  ] as const)("QEMU %p comes back to its network as it can", (version, reconnect) => {
    expect(values({ version }, "-netdev")).toEqual([
      `stream,id=net0,server=off,addr.type=unix,addr.path=/i/net.sock${reconnect}`,
    ]);
  });

  test.each([
    [[7, 2], "server=on,addr.type=unix,addr.path=/i/net0,,1.sock"],
    [[8, 0], "server=off,addr.type=unix,addr.path=/i/net.sock,reconnect=1"],
  ] as const)(
    "QEMU %p listens for a network that can connect to it only if it cannot come back itself",
    (version, expected) => {
      const backend = { ...SWITCH, listen: "/i/net0,1.sock" };
      const nics = [{ mac: "52:55:55:00:00:01", backend }];
      expect(values({ version, nics }, "-netdev")).toEqual([`stream,id=net0,${expected}`]);
    },
  );

  test("a large MTU of a network is told by its card, an ordinary one is not", () => {
    expect(values({}, "-device").at(-1)).toBe("virtio-net-pci,netdev=net0,mac=52:55:55:00:00:01");
    const [nic] = FACTS.nics;
    const nics = [{ ...nic!, mtu: 9000 }, { ...nic!, mtu: 1500 }, nic!];
    expect(values({ nics }, "-device").slice(-3)).toEqual([
      "virtio-net-pci,netdev=net0,mac=52:55:55:00:00:01,host_mtu=9000",
      "virtio-net-pci,netdev=net1,mac=52:55:55:00:00:01",
      "virtio-net-pci,netdev=net2,mac=52:55:55:00:00:01",
    ]);
  });

  test.each([
    [[7, 2], "reconnect=1"],
    [[9, 2], "reconnect-ms=500"],
  ] as const)(
    "QEMU %p shares the guest's memory with a network that wants that",
    (version, again) => {
      const backend = { ...SWITCH, vhostUser: "/i,1/vu.sock" };
      const nics = [...FACTS.nics, { mac: "52:55:55:00:00:02", backend }];
      expect(values({ version, nics }, "-object")).toEqual([
        "memory-backend-memfd,id=memory,size=1025M,share=on",
      ]);
      expect(values({ version, nics }, "-machine")).toEqual([
        "q35,accel=tcg,memory-backend=memory",
      ]);
      expect(values({ version, nics }, "-chardev")).toEqual([
        `socket,id=way1,path=/i,,1/vu.sock,${again}`,
      ]);
      expect(values({ version, nics }, "-netdev")[1]).toBe("vhost-user,id=net1,chardev=way1");
      expect(values({ version }, "-object")).toEqual([]);
      const device = (accelerator: "tcg" | "kvm") =>
        values({ nics, accelerator }, "-device").at(-1);
      expect(device("tcg")).toBe("virtio-net-pci,netdev=net1,mac=52:55:55:00:00:02,vectors=0");
      expect(device("kvm")).toBe("virtio-net-pci,netdev=net1,mac=52:55:55:00:00:02");
    },
  );

  test("QEMU's own network has Lima's addresses and forwards ssh", () => {
    const nics = [{ mac: "52:55:55:00:00:01", backend: { kind: "slirp", sshPort: 6022 } as const }];
    expect(values({ nics }, "-netdev")).toEqual([
      "user,id=net0,net=192.168.5.0/24,dhcpstart=192.168.5.15,hostfwd=tcp:127.0.0.1:6022-:22",
    ]);
  });

  test("a guest without a disk boots from kernel and initrd", () => {
    const facts = { disk: undefined, kernel: "/k", initrd: "/r" };
    expect(values(facts, "-kernel")).toEqual(["/k"]);
    expect(values(facts, "-initrd")).toEqual(["/r"]);
    expect(values(facts, "-append")).toEqual(["console=ttyS0"]);
    expect(values({ kernel: "/k" }, "-append")).toEqual(["root=/dev/vda console=ttyS0"]);
    expect(values({ kernel: "/k", cmdline: "quiet" }, "-append")).toEqual(["quiet"]);
    expect(values({}, "-append")).toEqual([]);
  });

  test("commas in paths are doubled, so that they end no value", () => {
    const nics = [{ mac: "52:55:55:00:00:01", backend: { ...SWITCH, stream: "/a,b/n.sock" } }];
    expect(values({ disk: { path: "/a,b/disk", format: "raw" } }, "-drive")[0]).toBe(
      "file=/a,,b/disk,if=virtio,format=raw,discard=on",
    );
    expect(values({ nics }, "-netdev")[0]).toContain("addr.path=/a,,b/n.sock");
    expect(values({ qmp: "/a,b/q" }, "-qmp")).toEqual(["unix:/a,,b/q,server=on,wait=off"]);
  });
});
