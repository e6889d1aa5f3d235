/** Can this machine run virtual machines: QEMU, what its version can do, acceleration, and the programs beside it. */
import type { Architecture } from "../config/images.ts";
import { reconnects } from "../driver/qemu.ts";
import type { Check } from "./finding.ts";

export interface QemuProgram {
  /** such as qemu-system-x86_64 */
  name: string;
  architecture: Architecture;
  /** "absent": not in PATH; a sentence's end: it did not tell its version */
  state: "absent" | { version: readonly [major: number, minor: number] } | { broken: string };
}

export interface MachineFacts {
  system: "darwin" | "linux";
  /** one for this machine's architecture, and one for each other that an instance has */
  qemus: readonly QemuProgram[];
  /** programs of PATH that are missing */
  missing: readonly ("qemu-img" | "ssh" | "ssh-keygen")[];
  acceleration: "usable" | "absent" | "denied";
}

const STREAM_SINCE = [7, 2] as const;

const isBefore = (
  [major, minor]: readonly [number, number],
  [otherMajor, otherMinor]: readonly [number, number],
): boolean => major < otherMajor || (major === otherMajor && minor < otherMinor);

/** how a program is installed, for both systems' usual package managers */
const install = (system: "darwin" | "linux", debian: string, brew: string): string =>
  system === "darwin" ? `brew install ${brew}` : `sudo apt install ${debian}`;

const PACKAGES = {
  "qemu-img": ["disks of instances are made", "qemu-utils", "qemu"],
  ssh: ["instances are reached", "openssh-client", "openssh"],
  "ssh-keygen": ["the key of the instances is made", "openssh-client", "openssh"],
} as const;

const versionOf = ({ state }: QemuProgram): readonly [number, number] | undefined =>
  typeof state === "object" && "version" in state ? state.version : undefined;

export const machineChecks: readonly Check<MachineFacts>[] = [
  {
    id: "qemu-missing",
    severity: "fault",
    find: ({ system, qemus }) =>
      qemus
        .filter(({ state }) => state === "absent")
        .map(({ name, architecture }) => ({
          problem: `No machine of ${architecture} can start: ${name} is not installed`,
          fix: [
            install(
              system,
              architecture === "x86_64" ? "qemu-system-x86" : "qemu-system-arm",
              "qemu",
            ),
          ],
        })),
  },
  {
    id: "qemu-broken",
    severity: "fault",
    find: ({ system, qemus }) =>
      qemus.flatMap(({ name, state }) =>
        typeof state === "object" && "broken" in state
          ? {
              problem: `No machine can start: ${name} does not tell its version: ${state.broken}`,
              fix: [install(system, "--reinstall qemu-system", "qemu"), `${name} --version`],
            }
          : [],
      ),
  },
  {
    id: "qemu-too-old",
    severity: "fault",
    find: ({ qemus }) =>
      qemus.flatMap((qemu) => {
        const version = versionOf(qemu);
        if (version === undefined || !isBefore(version, STREAM_SINCE)) return [];
        return {
          problem: `No machine can start: ${qemu.name} ${version.join(".")} has no stream network device, by which limanet carries the networks`,
          fix: [`install QEMU ${STREAM_SINCE.join(".")} or later`],
        };
      }),
  },
  {
    id: "qemu-no-reconnect",
    severity: "limit",
    find: ({ qemus }) =>
      qemus.flatMap((qemu) => {
        const version = versionOf(qemu);
        if (version === undefined || isBefore(version, STREAM_SINCE) || reconnects(version))
          return [];
        return {
          problem: `${qemu.name} ${version.join(".")} does not connect again to a network that something else than limanet serves, such as socket_vmnet or Lima, when that was restarted: the machine has to be started again then`,
          fix: ["install QEMU 8.0 or later (networks that limanet serves do not need it)"],
        };
      }),
  },
  {
    id: "program-missing",
    severity: "fault",
    find: ({ system, missing }) =>
      missing.map((name) => {
        const [purpose, debian, brew] = PACKAGES[name];
        return {
          problem: `Instances cannot be used: ${name}, by which ${purpose}, is not installed`,
          fix: [install(system, debian, brew)],
        };
      }),
  },
  {
    id: "no-acceleration",
    severity: "limit",
    find: ({ system, acceleration }) => {
      if (acceleration !== "absent") return undefined;
      return system === "darwin"
        ? {
            problem:
              "Machines are emulated, which is many times slower: this Mac, or the virtual machine it is, has no Hypervisor.framework (kern.hv_support is 0)",
            fix: ["run limanet on the machine itself, not inside a virtual machine"],
          }
        : {
            problem: "Machines are emulated, which is many times slower: there is no /dev/kvm",
            fix: [
              "sudo modprobe kvm_intel || sudo modprobe kvm_amd",
              "switch virtualization (VT-x, AMD-V) on in the firmware; inside a virtual machine, nested virtualization in its host",
            ],
          };
    },
  },
  {
    id: "acceleration-denied",
    severity: "limit",
    find: ({ acceleration }) =>
      acceleration === "denied"
        ? {
            problem:
              "Machines are emulated, which is many times slower: this user may not use /dev/kvm",
            fix: ["sudo usermod -aG kvm $USER, then log in anew"],
          }
        : undefined,
  },
];
