/** The filter of system calls, carried out here instruction by instruction as the kernel would (linux/filter.h). */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "bun:test";
import {
  refusedCalls,
  systemCallFilter,
  type Architecture,
} from "../../lib/privilege/system-call-filter.ts";

const AUDIT = { x64: 0xc000003e, arm64: 0xc00000b7, i386: 0x40000003, arm: 0x40000028 };
const NAMES: Record<number, string> = {
  0x7fff0000: "allowed",
  0x00050001: "EPERM",
  0x00050026: "ENOSYS",
  0x00050061: "EAFNOSUPPORT",
};

/** what becomes of a call; throws where the kernel would not take the program */
function judge(program: Uint8Array, audit: number, number: number, ...words: bigint[]): string {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, number, true);
  data.setUint32(4, audit, true);
  words.forEach((word, index) => data.setBigUint64(16 + 8 * index, word, true));
  const view = new DataView(program.buffer);
  let accumulator = 0;
  for (let pc = 0; ; pc++) {
    if (pc * 8 >= program.length) throw new Error("the program has no end");
    const [code, then, otherwise] = [
      view.getUint16(pc * 8, true),
      view.getUint8(pc * 8 + 2),
      view.getUint8(pc * 8 + 3),
    ];
    const value = view.getUint32(pc * 8 + 4, true);
    switch (code) {
      case 0x20:
        accumulator = data.getUint32(value, true);
        break;
      case 0x15:
        pc += accumulator === value ? then : otherwise;
        break;
      case 0x35:
        pc += accumulator >= value ? then : otherwise;
        break;
      case 0x45:
        pc += (accumulator & value) !== 0 ? then : otherwise;
        break;
      case 0x06:
        return NAMES[value]!;
      default:
        throw new Error(`no instruction ${code}`);
    }
  }
}

describe.each<[Architecture, Record<"socket" | "socketpair" | "clone", number>]>([
  ["x64", { socket: 41, socketpair: 53, clone: 56 }],
  ["arm64", { socket: 198, socketpair: 199, clone: 220 }],
])("systemCallFilter() on %s", (architecture, calls) => {
  const program = systemCallFilter(architecture);
  const refused = refusedCalls(architecture);
  const of = (number: number, ...words: bigint[]) =>
    judge(program, AUDIT[architecture], number, ...words);
  const special = new Set([...Object.values(calls), 435]);

  test("refuses what it lists, and nothing else that has no words of its own", () => {
    const listed = new Set(refused.values());
    expect(listed.size).toBe(refused.size);
    for (let number = 0; number < 600; number++)
      if (!special.has(number)) expect(of(number)).toBe(listed.has(number) ? "EPERM" : "allowed");
  });

  test.each<[string, keyof typeof calls, bigint, string]>([
    ["a unix socket", "socket", 1n, "allowed"],
    ["a pair of them", "socketpair", 1n, "allowed"],
    ["IPv4", "socket", 2n, "allowed"],
    ["IPv6", "socket", 10n, "allowed"],
    ["netlink", "socket", 16n, "allowed"],
    [
      "netlink, with something in the upper half of the word",
      "socket",
      (7n << 32n) | 16n,
      "allowed",
    ],
    ["none", "socket", 0n, "EAFNOSUPPORT"],
    ["packets", "socket", 17n, "EAFNOSUPPORT"],
    ["the kernel's cryptography", "socket", 38n, "EAFNOSUPPORT"],
    ["a machine's other side", "socket", 40n, "EAFNOSUPPORT"],
    ["a pair of another family", "socketpair", 30n, "EAFNOSUPPORT"],
    ["a thread", "clone", 0x3d0f00n, "allowed"],
    ["a process", "clone", 17n, "allowed"],
    ["vfork", "clone", 0x4111n, "allowed"],
    ["a user namespace", "clone", 0x1000_0011n, "EPERM"],
    ["a mount namespace", "clone", 0x0002_0011n, "EPERM"],
    ["a network namespace", "clone", 0x4000_0011n, "EPERM"],
  ])("%s", (_what, call, word, outcome) => {
    expect(of(calls[call], word)).toBe(outcome);
  });

  test("clone3, whose flags cannot be seen, is not there", () => {
    expect(of(435, 0n)).toBe("ENOSYS");
  });

  test("calls by another table are refused, whatever their number means there", () => {
    for (const [other, audit] of Object.entries(AUDIT))
      if (other !== architecture)
        for (const number of [0, 1, 41, 220, 500])
          expect(judge(program, audit, number)).toBe("EPERM");
    if (architecture === "x64") expect(of(0x40000000 | 101)).toBe("EPERM");
  });

  const header =
    architecture === "x64"
      ? "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
      : "/usr/include/asm-generic/unistd.h";
  if (!existsSync(header)) process.stderr.write(`skipped: no ${header} to compare numbers with\n`);
  test.skipIf(!existsSync(header))("the numbers are those of the kernel's headers", () => {
    const known = new Map(
      [...readFileSync(header, "utf8").matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)].map(
        ([, name, number]) => [name!, Number(number)],
      ),
    );
    for (const [name, number] of [...refused, ...Object.entries(calls)])
      // headers older than the call do not know it
      if (known.has(name) || number < 440) expect([name, known.get(name)]).toEqual([name, number]);
  });
});
