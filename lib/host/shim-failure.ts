/** What a negative result of the native library means (native/vmn.h): an errno, or a status of vmnet.framework. */
import { errnoName } from "./libc.ts";

/** vmnet_return_t, and what is known to lead to it */
const VMNET_STATUSES: Readonly<Record<number, string>> = {
  1001: "VMNET_FAILURE (no permission: root is needed before macOS 26; or another network has the subnet)",
  1002: "VMNET_MEM_FAILURE",
  1003: "VMNET_INVALID_ARGUMENT",
  1004: "VMNET_SETUP_INCOMPLETE",
  1005: "VMNET_INVALID_ACCESS",
  1006: "VMNET_PACKET_TOO_BIG",
  1007: "VMNET_BUFFER_EXHAUSTED",
  1008: "VMNET_TOO_MANY_PACKETS",
  1009: "VMNET_SHARING_SERVICE_BUSY (Internet Sharing is on: turn it off in System Settings)",
  1010: "VMNET_NOT_AUTHORIZED (run it as root, or sign it with com.apple.security.virtualization on macOS 26)",
};

/** "EBUSY" for -16, "VMNET_FAILURE (…)" for -1001. */
export function shimFailure(result: number): string {
  return VMNET_STATUSES[-result] ?? errnoName(result);
}

/** What the native library could not do; the code is an errno's or vmnet status' name. */
export class ShimError extends Error {
  readonly code: string;

  constructor(result: number, message: string) {
    super(message);
    this.code = shimFailure(result).split(" ")[0]!;
  }
}
