/**
 * A machine of Virtualization.framework (specification, section 14): its configuration as the lines of native/vz.h, and
 * what its events mean. Pure: facts in, text out.
 */

export interface VzNic {
  mac: string;
  mtu: number;
  /** an open descriptor, one end of a pair of datagram sockets, or macOS' own network */
  attachment: number | "nat";
}

export interface VzFacts {
  cpus: number;
  /** octets */
  memory: number;
  /** direct boot; undefined: EFI */
  kernel: string | undefined;
  initrd: string | undefined;
  cmdline: string | undefined;
  /** files that the framework makes when they are not there */
  efiVariables: string;
  machineIdentifier: string;
  /** raw image; undefined: no disk */
  disk: string | undefined;
  cidata: string;
  /** an open descriptor that the console is written to */
  serial: number;
  nics: readonly VzNic[];
}

export const STANDARD_MTU = 1500;
const MIB = 1024 ** 2;

export function vzConfiguration(facts: VzFacts): string {
  const disks = [
    ...(facts.disk === undefined ? [] : [{ path: facts.disk, readonly: false }]),
    { path: facts.cidata, readonly: true },
  ];
  const boot =
    facts.kernel === undefined
      ? { efi: facts.efiVariables }
      : {
          kernel: facts.kernel,
          initrd: facts.initrd,
          cmdline: facts.cmdline ?? defaultCmdline(facts),
        };
  return lines({
    cpus: facts.cpus,
    memory: Math.ceil(facts.memory / MIB),
    ...boot,
    machine_id: facts.machineIdentifier,
    ...Object.fromEntries(
      disks.flatMap(({ path, readonly }, i) => [
        [`disk.${i}`, path],
        [`disk.${i}.readonly`, readonly ? 1 : undefined],
      ]),
    ),
    serial: facts.serial,
    ...Object.fromEntries(
      facts.nics.flatMap((nic, i) => [
        ...Object.entries(vzAttachment(nic)).map(([key, value]) => [
          key === "nic" ? `nic.${i}` : `nic.${i}.${key}`,
          value,
        ]),
        [`nic.${i}.mac`, nic.mac],
      ]),
    ),
  });
}

const defaultCmdline = ({ disk }: VzFacts): string =>
  disk === undefined ? "console=hvc0" : "root=/dev/vda console=hvc0";

function vzAttachment({ attachment, mtu }: Omit<VzNic, "mac">) {
  if (attachment === "nat") return { nic: "nat" };
  return { nic: `fd:${attachment}`, mtu: mtu === STANDARD_MTU ? undefined : mtu };
}

/** What a network card is attached to from now on. */
export const vzAttachmentText = (nic: Omit<VzNic, "mac">): string => lines(vzAttachment(nic));

function lines(values: Record<string, string | number | undefined>): string {
  let text = "";
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) continue;
    // another line would be another setting
    if (String(value).includes("\n"))
      throw new Error(
        `Cannot start the virtual machine: ${key} has a line break in it (${JSON.stringify(value)})`,
      );
    text += `${key}=${value}\n`;
  }
  return text;
}

export type VzEvent =
  | { tag: "started" | "stopped" }
  | { tag: "start-failed" | "stop-failed" | "failed"; why: string }
  | { tag: "nic-lost"; nic: number; why: string }
  | { tag: "vsock"; ticket: number; fd: number }
  | { tag: "vsock-failed"; ticket: number; why: string };

/** undefined: an event that this limanet does not know */
export function vzEvent(facts: ReadonlyMap<string, string>): VzEvent | undefined {
  const why = facts.get("error") ?? "no reason is given";
  const number = (key: string) => Number(facts.get(key) ?? -1);
  switch (facts.get("event")) {
    case "started":
      return { tag: "started" };
    case "stopped":
      return { tag: "stopped" };
    case "start-failed":
      return { tag: "start-failed", why };
    case "stop-failed":
      return { tag: "stop-failed", why };
    case "failed":
      return { tag: "failed", why };
    case "nic-lost":
      return { tag: "nic-lost", nic: number("nic"), why };
    case "vsock":
      return facts.has("fd")
        ? { tag: "vsock", ticket: number("ticket"), fd: number("fd") }
        : { tag: "vsock-failed", ticket: number("ticket"), why };
    default:
      return undefined;
  }
}
