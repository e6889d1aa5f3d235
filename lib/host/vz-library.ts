/** The library of native/vz.h, loaded when it is first asked for. */
import { dlopen } from "bun:ffi";
import { loadLibrary } from "./shim-library.ts";

const ABI_MAJOR = 1;

export const VZ_CALLS = {
  vz_abi: { args: [], returns: "u32" },
  vz_caps: { args: ["ptr", "u32"], returns: "i32" },
  vz_open: { args: ["ptr", "u32", "ptr", "u32"], returns: "i32" },
  vz_bell: { args: ["i32"], returns: "i32" },
  vz_event: { args: ["i32", "ptr", "u32"], returns: "i32" },
  vz_start: { args: ["i32"], returns: "i32" },
  vz_request_stop: { args: ["i32"], returns: "i32" },
  vz_stop: { args: ["i32"], returns: "i32" },
  vz_attach: { args: ["i32", "u32", "ptr", "u32", "ptr", "u32"], returns: "i32" },
  vz_connect: { args: ["i32", "u32"], returns: "i32" },
  vz_close: { args: ["i32"], returns: "i32" },
} as const;

const open = (path: string) => dlopen(path, VZ_CALLS).symbols;
export type VzLibrary = ReturnType<typeof open>;

/** Opens the library at the first call; later ones give the same. */
export let vzLibrary = (): VzLibrary => {
  const library = loadLibrary("limanet-vz", open);
  const major = library.vz_abi() >>> 16;
  if (major !== ABI_MAJOR)
    throw new Error(
      `Cannot use the library of virtual machines: its ABI is ${major}, not ${ABI_MAJOR} (build it again with scripts/build-native)`,
    );
  vzLibrary = () => library;
  return library;
};
