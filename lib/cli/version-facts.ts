/** `limanet version`: what this executable is made of. */
import { shimIdentity } from "../host/shim.ts";
import { writeOut } from "../host/terminal.ts";
import { VERSION } from "./version.ts";

/** there only in the executable */
declare const LIMANET_COMMIT: string | undefined;
declare const LIMANET_LICENCES: string | undefined;
const commit = typeof LIMANET_COMMIT === "string" ? LIMANET_COMMIT : undefined;

type NativeLibrary = ReturnType<typeof shimIdentity>;

export function printVersion(json: boolean): number {
  const native = nativeLibrary();
  writeOut(
    json
      ? `${JSON.stringify({ version: VERSION, commit, license: "Apache-2.0", native })}\n`
      : `limanet ${VERSION}${commit === undefined ? "" : ` (${commit})`}\n${"error" in native ? native.error : lineOf(native)}\n`,
  );
  return 0;
}

/** The licences of all that is in the executable. */
export function printLicences(): number {
  writeOut(
    typeof LIMANET_LICENCES === "string"
      ? LIMANET_LICENCES
      : "From source: LICENSE, and what the packages in node_modules bring.\n",
  );
  return 0;
}

/** Everything but vmnet networks works without it, so that it cannot be had is told, not thrown. */
function nativeLibrary(): NativeLibrary | { error: string } {
  try {
    return shimIdentity();
  } catch (error) {
    return { error: (error as Error).message };
  }
}

function lineOf({ place, sha256, abi, capabilities }: NativeLibrary): string {
  const facts = Object.entries(capabilities).map(([key, value]) => `${key}=${value}`);
  return `native library ${place}: abi=${abi} ${facts.join(" ")} sha256=${sha256}`;
}
