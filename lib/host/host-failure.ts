import type { HostFailure } from "../flow/host-sockets.ts";
import { errnoName } from "./libc.ts";

/** The flows' word for a negative errno. */
export function hostFailure(result: number): HostFailure {
  switch (errnoName(result)) {
    case "EAGAIN":
    case "EINTR":
    case "ENOBUFS":
      return "again";
    case "ECONNREFUSED":
    case "ENOENT":
      return "refused";
    case "ENETUNREACH":
    case "EHOSTUNREACH":
    case "EADDRNOTAVAIL":
      return "unreachable";
    case "ETIMEDOUT":
      return "timeout";
    case "ECONNRESET":
    case "EPIPE":
      return "reset";
    case "EMFILE":
    case "ENFILE":
      return "no-descriptors";
    default:
      return "failed";
  }
}
