/**
 * Makes executables of Bun's deaf, in place, to the variables by which whoever sets the environment has code of his own run in
 * them, or a debugger's door opened, before a line of ours is reached:
 *
 *   bun scripts/release/seal.ts EXECUTABLE...
 *
 * No option of the build turns these off. Bun and its engine ask getenv(3) for names that are texts in the file; a name that
 * begins with the octet that ends a text can be set by nobody.
 */
import { chmodSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";

const NAMES: readonly { text: string; from?: number }[] = [
  // --preload, --require
  { text: "BUN_OPTIONS" },
  // the executable as the program bun
  { text: "BUN_BE_BUN" },
  // a debugger listens, or is called
  { text: "BUN_INSPECT" },
  { text: "BUN_INSPECT_CONNECT_TO" },
  { text: "BUN_INSPECT_PRELOAD" },
  // files are written
  { text: "BUN_BYTECODE_ORDER_OUT" },
  { text: "BUN_BYTECODE_ORDER_NAMES_OUT" },
  { text: "BUN_BYTECODE_DIGEST_OUT" },
  // BUN_JSC_functionOverrides: functions get other bodies, from a file. The engine's name for it is the end of another text.
  { text: "JSC_functionOverrides", from: "JSC_".length },
];

const files = process.argv.slice(2);
if (files.length === 0) {
  process.stderr.write("seal: Cannot seal nothing: name an executable\n");
  process.exit(2);
}
for (const file of files) {
  const octets = readFileSync(file);
  for (const { text, from = 0 } of NAMES) {
    const wanted = Buffer.from(`\0${text}\0`);
    let at = octets.indexOf(wanted);
    if (at < 0) {
      process.stderr.write(
        `seal: Cannot seal ${file}: the text ${text} is not in it (Bun has changed: see what it reads now)\n`,
      );
      process.exit(1);
    }
    for (; at >= 0; at = octets.indexOf(wanted, at + 1)) octets[at + 1 + from] = 0;
  }
  // at once, since somebody may be running the old one
  writeFileSync(`${file}.new`, octets);
  chmodSync(`${file}.new`, statSync(file).mode);
  renameSync(`${file}.new`, file);
}
