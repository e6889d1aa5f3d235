/**
 * Signs Mach-O files ad hoc, in place, or says what is right and wrong with their signatures.
 *
 *   bun scripts/release/sign.ts [--entitlements FILE] --identifier NAME MACH-O...
 *   bun scripts/release/sign.ts --check MACH-O...
 */
import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { inspect, sign } from "./code-signature.ts";
import { entitlementKeys } from "./entitlements.ts";
import { slicesOf } from "./mach-o.ts";

const { values, positionals } = parseArgs({
  options: {
    check: { type: "boolean", default: false },
    identifier: { type: "string" },
    entitlements: { type: "string" },
  },
  allowPositionals: true,
});

let exitCode = 0;
for (const file of positionals) {
  try {
    if (values.check) check(file);
    else signInPlace(file);
  } catch (error) {
    process.stderr.write(`sign: Cannot use ${file}: ${(error as Error).message}\n`);
    exitCode = 1;
  }
}
if (positionals.length === 0) {
  process.stderr.write("sign: Cannot sign nothing: name a Mach-O file\n");
  exitCode = 2;
}
process.exit(exitCode);

function signInPlace(file: string): void {
  const { identifier, entitlements } = values;
  if (identifier === undefined) throw new Error("--identifier is needed");
  const signed = sign(readFileSync(file), {
    identifier,
    entitlements:
      entitlements === undefined ? undefined : entitlementKeys(readFileSync(entitlements, "utf8")),
  });
  // a system that remembers a file's signature must not take the new one for the old file
  const beside = `${file}.${process.pid}.tmp`;
  writeFileSync(beside, signed, { mode: statSync(file).mode & 0o777 });
  renameSync(beside, file);
}

function check(file: string): void {
  for (const slice of slicesOf(readFileSync(file))) {
    const report = inspect(slice);
    const { architecture, identifier, pages, wrongPages, unsigned, wrongParts } = report;
    const isWhole = wrongPages.length === 0 && unsigned === 0 && wrongParts.length === 0;
    const kind = `${report.isAdHoc ? "ad hoc" : "by a certificate that is not looked at here"}${report.isHardened ? ", hardened runtime" : ""}`;
    const keys = report.entitlements === undefined ? [] : entitlementKeys(report.entitlements);
    process.stdout.write(
      `${file} (${architecture}): ${isWhole ? "right" : "WRONG"}; identifier ${identifier}; ${kind}; ${pages} pages, ${wrongPages.length} wrong; ${unsigned} octets unsigned; ${wrongParts.length} wrong parts; entitlements: ${keys.join(" ") || "none"}\n`,
    );
    if (!isWhole) exitCode = 1;
  }
}
