/** Signing on executables that Bun makes for macOS; what Apple's own tools have signed is the model. */
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect, sign } from "../../scripts/release/code-signature.ts";
import {
  entitlementKeys,
  entitlementsDer,
  entitlementsXml,
} from "../../scripts/release/entitlements.ts";
import { parseMachO, slicesOf } from "../../scripts/release/mach-o.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const KEYS = entitlementKeys(readFileSync(join(ROOT, "native/limanet.entitlements"), "utf8"));
const OPTIONS = { identifier: "io.limanet", entitlements: KEYS };
const LIMIT = 120_000;

describe.each(["arm64", "x64"])("a darwin-%s executable", (architecture) => {
  let bare: Uint8Array;
  let signed: Uint8Array;

  beforeAll(() => {
    const folder = mkdtempSync(join(tmpdir(), "limanet-sign-"));
    const program = join(folder, "program.ts");
    const out = join(folder, "program");
    writeFileSync(program, 'process.stdout.write("made for macOS\\n");\n');
    const made = Bun.spawnSync([
      process.execPath,
      ...["build", "--compile", `--target=bun-darwin-${architecture}`, program, "--outfile", out],
    ]);
    if (made.exitCode !== 0) throw new Error(made.stderr.toString());
    bare = new Uint8Array(readFileSync(out));
    rmSync(folder, { recursive: true });
    signed = sign(bare, OPTIONS);
  }, LIMIT);

  test("has every page and part right, and nothing unsigned", () => {
    const report = inspect(signed);
    expect(report).toMatchObject({
      identifier: "io.limanet",
      isAdHoc: true,
      isHardened: true,
      pages: Math.ceil(parseMachO(signed).signature.offset / 4096),
      wrongPages: [],
      wrongParts: [],
      unsigned: 0,
    });
    expect(entitlementKeys(report.entitlements!)).toEqual(KEYS);
    expect(report.derEntitlements).toEqual(entitlementsDer(KEYS));
  });

  test("is the same but for its signature and the load commands that tell its size", () => {
    const { signature, signatureAt, linkEdit } = parseMachO(bare);
    const changed = new Set<number>();
    for (let at = 0; at < signature.offset; at++) if (bare[at] !== signed[at]) changed.add(at);
    const mayChange = (at: number) =>
      (at >= signatureAt + 12 && at < signatureAt + 16) ||
      (at >= linkEdit.at + 32 && at < linkEdit.at + 56);
    expect([...changed].filter((at) => !mayChange(at))).toEqual([]);
  });

  test("gets the same signature again", () => {
    expect(Bun.hash(sign(bare, OPTIONS))).toBe(Bun.hash(signed));
    expect(Bun.hash(sign(signed, OPTIONS))).toBe(Bun.hash(signed));
  });

  test("one octet changed anywhere is found, in its page or part", () => {
    const { signature } = parseMachO(signed);
    for (const at of [64 * 1024 + 1, signature.offset >> 1, signature.offset - 1]) {
      const changed = signed.with(at, signed[at]! ^ 1);
      expect(inspect(changed).wrongPages).toEqual([at >>> 12]);
    }
    const key = new TextEncoder().encode("com.apple.security.virtualization");
    const at = Buffer.from(signed.buffer).indexOf(key, signature.offset);
    expect(inspect(signed.with(at, signed[at]! ^ 1)).wrongParts).toEqual([5]);
  });

  test.skipIf(Bun.which("llvm-objdump") === null)("is read by LLVM's tools", () => {
    const path = join(mkdtempSync(join(tmpdir(), "limanet-sign-")), "signed");
    writeFileSync(path, signed);
    const { stdout, stderr } = Bun.spawnSync([
      ...["llvm-objdump", "--macho", "--private-headers", path],
    ]);
    expect(stderr.toString()).toBe("");
    const { size, offset } = parseMachO(signed).signature;
    expect(stdout.toString()).toMatch(new RegExp(`dataoff ${offset}\\s+datasize ${size}\\n`));
    rmSync(path);
  });

  if (architecture === "x64")
    test("comes from Bun with Apple's entitlements, whose DER is as ours would be, and pages that are wrong", () => {
      const report = inspect(bare);
      expect(report.isAdHoc).toBe(false);
      expect(report.wrongPages.length + report.unsigned).toBeGreaterThan(0);
      const keys = entitlementKeys(report.entitlements!);
      expect(keys).toHaveLength(5);
      expect(entitlementsDer(keys)).toEqual(report.derEntitlements!);
    });

  test("in a universal file it is one of its parts", () => {
    const out = new Uint8Array(4096 + signed.length);
    const view = new DataView(out.buffer);
    [0xcafebabe, 1, 0, 0, 4096, signed.length, 12].forEach((word, i) =>
      view.setUint32(4 * i, word),
    );
    out.set(signed, 4096);
    expect(slicesOf(out).map((slice) => inspect(slice).wrongPages)).toEqual([[]]);
    expect(() => slicesOf(out.subarray(0, 8000))).toThrow("cut short within one of its parts");
  });

  test.each<[string, (file: Uint8Array) => Uint8Array, string]>([
    ["an ELF file", () => new Uint8Array(readFileSync(process.execPath)), "not a 64-bit Mach-O"],
    ["nothing", () => new Uint8Array(0), "not a 64-bit Mach-O"],
    ["its beginning", (file) => file.subarray(0, 200), "wrong size"],
    ["half of it", (file) => file.subarray(0, file.length >> 1), "not its end"],
  ])("%s is refused", (_what, of, sentence) => {
    expect(() => sign(of(signed), OPTIONS)).toThrow(sentence);
  });
});

describe("entitlements", () => {
  test("come back out of their own text", () =>
    expect(entitlementKeys(entitlementsXml(KEYS))).toEqual(KEYS));

  test("are in DER in the order of their keys", () =>
    expect(entitlementsDer(["b", "a"])).toEqual(entitlementsDer(["a", "b"])));

  test.each([
    ["", "no property list"],
    ['<plist version="1.0"><array/></plist>', "no property list"],
    ['<plist version="1.0"><dict><key>a</key><false/></dict></plist>', "only keys that are true"],
    ['<plist version="1.0"><dict><key>a</key><true/><key>a</key><true/></dict></plist>', "twice"],
  ])("%s is refused", (text, sentence) => expect(() => entitlementKeys(text)).toThrow(sentence));
});
