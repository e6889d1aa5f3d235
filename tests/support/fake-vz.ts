/** Virtualization.framework's library over native/fake, which scripts/build-native fake-vz has made. */
import { dlopen } from "bun:ffi";
import { VZ_CALLS, type VzLibrary } from "../../lib/host/vz-library.ts";

const FAKE = new URL("../../dist/native/fake-vz.so", import.meta.url).pathname;

export const fakeVz = (): VzLibrary => dlopen(FAKE, VZ_CALLS).symbols;
