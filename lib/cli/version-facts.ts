/** `limanet version`: the version, and the native library that vmnet networks need. */
import { shimIdentity } from "../host/shim.ts";
import { writeOut } from "../host/terminal.ts";
import { VERSION } from "./version.ts";

type NativeLibrary = ReturnType<typeof shimIdentity>;

export function printVersion(json: boolean): number {
  const native = nativeLibrary();
  writeOut(
    json
      ? `${JSON.stringify({ version: VERSION, native })}\n`
      : `limanet ${VERSION}\n${"error" in native ? native.error : lineOf(native)}\n`,
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
