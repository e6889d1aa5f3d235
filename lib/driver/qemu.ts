/** QEMU's command line for an instance (specification, section 13). Pure: facts in, arguments out. */
import type { Architecture } from "../config/images.ts";
import type { Nic, NicBackend } from "./nic.ts";

export interface QemuFacts {
  arch: Architecture;
  accelerator: "kvm" | "hvf" | "tcg";
  /** e.g. [7, 2] */
  version: readonly [number, number];
  cpus: number;
  /** octets */
  memory: number;
  name: string;
  /** undefined: no disk */
  disk: { path: string; format: "qcow2" | "raw" } | undefined;
  kernel: string | undefined;
  cmdline: string | undefined;
  initrd: string | undefined;
  cidata: string;
  qmp: string;
  pidFile: string;
  serialLog: string;
  nics: readonly Nic[];
}

export const qemuProgram = (arch: Architecture): string => `qemu-system-${arch}`;

/** A comma in a value is written twice (QEMU's option syntax). */
const value = (text: string): string => text.replaceAll(",", ",,");

export function qemuArguments(facts: QemuFacts): string[] {
  const machine = facts.arch === "x86_64" ? "q35" : "virt";
  const megabytes = `${Math.ceil(facts.memory / 1024 ** 2)}M`;
  const sharesMemory = facts.nics.some(({ backend }) => vhostSocket(backend) !== undefined);
  const args = [
    "-name",
    value(`lima-${facts.name}`),
    "-machine",
    `${machine},accel=${facts.accelerator}${sharesMemory ? ",memory-backend=memory" : ""}`,
    "-cpu",
    facts.accelerator === "tcg" ? "max" : "host",
    "-smp",
    String(facts.cpus),
    "-m",
    megabytes,
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-serial",
    `file:${facts.serialLog}`,
    "-qmp",
    `unix:${value(facts.qmp)},server=on,wait=off`,
    "-pidfile",
    facts.pidFile,
    "-device",
    "virtio-rng-pci",
  ];
  if (sharesMemory)
    args.push("-object", `memory-backend-memfd,id=memory,size=${megabytes},share=on`);
  if (facts.kernel !== undefined) args.push("-kernel", facts.kernel);
  if (facts.initrd !== undefined) args.push("-initrd", facts.initrd);
  if (facts.kernel !== undefined) args.push("-append", facts.cmdline ?? defaultCmdline(facts));
  if (facts.disk !== undefined) {
    args.push(
      "-drive",
      `file=${value(facts.disk.path)},if=virtio,format=${facts.disk.format},discard=on`,
    );
  }
  args.push("-drive", `file=${value(facts.cidata)},if=virtio,format=raw,readonly=on`);
  facts.nics.forEach((nic, i) => {
    const socket = vhostSocket(nic.backend);
    if (socket !== undefined)
      args.push("-chardev", `socket,id=way${i},path=${value(socket)}${comeBack(facts.version)}`);
    args.push("-netdev", netdev(nic, i, facts), "-device", nicDevice(nic, i, facts));
  });
  return args;
}

function defaultCmdline(facts: QemuFacts): string {
  const console = facts.arch === "x86_64" ? "ttyS0" : "ttyAMA0";
  return facts.disk === undefined ? `console=${console}` : `root=/dev/vda console=${console}`;
}

const vhostSocket = (backend: NicBackend): string | undefined =>
  backend.kind === "switch" ? backend.vhostUser : undefined;

function netdev({ backend }: Nic, index: number, facts: QemuFacts): string {
  if (backend.kind === "nat")
    throw new Error("Cannot start the virtual machine: vzNAT needs vmType: vz on macOS");
  if (backend.kind === "slirp") {
    return `user,id=net${index},net=192.168.5.0/24,dhcpstart=192.168.5.15,hostfwd=tcp:127.0.0.1:${backend.sshPort}-:22`;
  }
  if (backend.vhostUser !== undefined) return `vhost-user,id=net${index},chardev=way${index}`;
  if (backend.listen !== undefined && !reconnects(facts.version))
    return `stream,id=net${index},server=on,addr.type=unix,addr.path=${value(backend.listen)}`;
  return `stream,id=net${index},server=off,addr.type=unix,addr.path=${value(backend.stream)}${reconnect(facts.version)}`;
}

/** Can a stream network device connect once more to a network that was away? */
export const reconnects = ([major]: readonly [number, number]): boolean => major >= 8;

/** Before 8.0 a stream network device cannot come back. */
const reconnect = (version: readonly [number, number]): string =>
  reconnects(version) ? comeBack(version) : "";

/** From 9.2 on the interval is in milliseconds. */
const comeBack = ([major, minor]: readonly [number, number]): string =>
  major > 9 || (major === 9 && minor >= 2) ? ",reconnect-ms=500" : ",reconnect=1";

function nicDevice({ mac, mtu = 1500, backend }: Nic, index: number, facts: QemuFacts): string {
  // the device tells the guest the link's MTU before DHCP does; without a large one it takes no large frames
  const option = mtu === 1500 || backend.kind === "slirp" ? "" : `,host_mtu=${mtu}`;
  // without a kernel's help QEMU 7.2 ends when such a card's interrupts are messages (MSI-X)
  const vectors = facts.accelerator === "tcg" && vhostSocket(backend) !== undefined;
  return `virtio-net-pci,netdev=net${index},mac=${mac}${option}${vectors ? ",vectors=0" : ""}`;
}
