/**
 * Which system calls of Linux a daemon that serves guests goes without for the rest of its life, as a program of seccomp(2)
 * (classic BPF). It lists what is refused, not what is allowed: Bun, its engine and the C library are free to use another
 * call in their next version, and a daemon that works is never stopped. All of it fails with an error, and nothing is killed.
 */

export type Architecture = "x64" | "arm64";

/** of the two tables of calls, asm/unistd_64.h and asm-generic/unistd.h; "": the architecture has none */
const REFUSED: Readonly<Record<string, readonly [x64: number | "", arm64: number | ""]>> = {
  // into other processes
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  process_madvise: [440, 440],
  kcmp: [312, 272],
  pidfd_getfd: [438, 438],
  // into the kernel
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  keyctl: [250, 219],
  add_key: [248, 217],
  request_key: [249, 218],
  iopl: [172, ""],
  ioperm: [173, ""],
  modify_ldt: [154, ""],
  // into other namespaces and file systems
  setns: [308, 268],
  unshare: [272, 97],
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  move_mount: [429, 429],
  open_tree: [428, 428],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  fanotify_init: [300, 262],
  mknod: [133, ""],
  mknodat: [259, 33],
  // the machine itself
  reboot: [169, 142],
  swapon: [167, 224],
  swapoff: [168, 225],
  acct: [163, 89],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  syslog: [103, 116],
  vhangup: [153, 58],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  clock_adjtime: [305, 266],
  adjtimex: [159, 171],
};

export const refusedCalls = (architecture: Architecture): Map<string, number> =>
  new Map(
    Object.entries(REFUSED).flatMap(([name, numbers]) => {
      const number = numbers[architecture === "x64" ? 0 : 1];
      return number === "" ? [] : [[name, number]];
    }),
  );

const FACTS = {
  // AUDIT_ARCH of linux/audit.h
  x64: { audit: 0xc000_003e, socket: 41, socketpair: 53, clone: 56 },
  arm64: { audit: 0xc000_00b7, socket: 198, socketpair: 199, clone: 220 },
};
const CLONE3 = 435;
/** the calls of x86-64's second table, x32, have this bit */
const X32 = 0x4000_0000;
/** every namespace that clone(2) can make */
const NEW_NAMESPACES = 0x7e02_0000;
/** AF_UNIX, AF_INET, AF_INET6, AF_NETLINK */
const FAMILIES = [1, 2, 10, 16];

// of struct seccomp_data, little-endian
const NUMBER = 0;
const AUDIT = 4;
const FIRST_WORD = 16;

// linux/bpf_common.h, linux/seccomp.h, asm-generic/errno.h
const LOAD = 0x20;
const EQUAL = 0x15;
const AT_LEAST = 0x35;
const ANY_BIT = 0x45;
const RETURN = 0x06;
const ALLOW = 0x7fff_0000;
const error = (errno: number): number => 0x0005_0000 | errno;
const ERRORS = {
  EPERM: error(1),
  /** with which the C library goes back to clone(2), whose flags can be seen here */
  ENOSYS: error(38),
  EAFNOSUPPORT: error(97),
};
const INSTRUCTION_SIZE = 8;

type Outcome = keyof typeof ERRORS | "ALLOW";
const OUTCOMES: readonly Outcome[] = ["ALLOW", "EPERM", "ENOSYS", "EAFNOSUPPORT"];

interface Instruction {
  code: number;
  value: number;
  /** where a condition that holds, or one that does not, leads; the next instruction if nothing is said */
  holds?: Outcome | number;
  otherwise?: Outcome | number;
}

/** The program: instructions of 8 octets, as the kernel takes them from memory on these machines. */
export function systemCallFilter(architecture: Architecture): Uint8Array<ArrayBuffer> {
  const { audit, socket, socketpair, clone } = FACTS[architecture];
  const ofFamily: Instruction[] = [
    { code: LOAD, value: FIRST_WORD },
    ...FAMILIES.map((value): Instruction => ({ code: EQUAL, value, holds: "ALLOW" })),
    { code: RETURN, value: ERRORS.EAFNOSUPPORT },
  ];
  const program: Instruction[] = [
    { code: LOAD, value: AUDIT },
    // a process may have calls of 32 bits, whose numbers mean others
    { code: EQUAL, value: audit, otherwise: "EPERM" },
    { code: LOAD, value: NUMBER },
    ...(architecture === "x64" ? [{ code: AT_LEAST, value: X32, holds: "EPERM" } as const] : []),
    ...[...refusedCalls(architecture).values()].map((value): Instruction => ({
      code: EQUAL,
      value,
      holds: "EPERM",
    })),
    { code: EQUAL, value: CLONE3, holds: "ENOSYS" },
    // past the question about clone, or past that about families, too
    { code: EQUAL, value: clone, otherwise: 2 },
    { code: LOAD, value: FIRST_WORD },
    { code: ANY_BIT, value: NEW_NAMESPACES, holds: "EPERM", otherwise: "ALLOW" },
    { code: EQUAL, value: socket, holds: 1 },
    { code: EQUAL, value: socketpair, otherwise: "ALLOW" },
    ...ofFamily,
  ];
  const ends = OUTCOMES.map((outcome) => (outcome === "ALLOW" ? ALLOW : ERRORS[outcome]));
  const octets = new Uint8Array((program.length + ends.length) * INSTRUCTION_SIZE);
  const view = new DataView(octets.buffer);
  const write = (index: number, { code, value }: Instruction, holds = 0, otherwise = 0): void => {
    const at = index * INSTRUCTION_SIZE;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, holds);
    view.setUint8(at + 3, otherwise);
    view.setUint32(at + 4, value, true);
  };
  program.forEach((instruction, index) => {
    const distance = (to: Outcome | number = 0): number =>
      typeof to === "number" ? to : program.length + OUTCOMES.indexOf(to) - index - 1;
    write(index, instruction, distance(instruction.holds), distance(instruction.otherwise));
  });
  ends.forEach((value, index) => write(program.length + index, { code: RETURN, value }));
  return octets;
}
