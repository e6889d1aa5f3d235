/** Endpoints as Linux prints them in /proc/net/tcp and its kind (proc_pid_net(5)): hexadecimal, in the machine's octet order. */
import { canonicalIp } from "./ip-text.ts";

export type OctetOrder = "little" | "big";

/** "0100007F:1F90" → 127.0.0.1 and 8080. An IPv4 address that is mapped into IPv6 is the IPv4 address. */
export function parseKernelEndpoint(
  text: string,
  order: OctetOrder,
): { ip: string; port: number } | undefined {
  const match = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/i.exec(text);
  if (match === null) return undefined;
  // each 32-bit word is printed as a number
  const octets = [...match[1]!.matchAll(/.{8}/g)].flatMap(([word]) => {
    const inOrder = [...word.matchAll(/../g)].map(([pair]) => Number.parseInt(pair, 16));
    return order === "little" ? inOrder.toReversed() : inOrder;
  });
  const port = Number.parseInt(match[2]!, 16);
  const mapped =
    octets.length === 16 && octets.slice(0, 12).join(" ") === "0 0 0 0 0 0 0 0 0 0 255 255";
  if (octets.length === 4 || mapped) return { ip: octets.slice(-4).join("."), port };
  const groups = Array.from({ length: 8 }, (_, i) =>
    (octets[2 * i]! * 256 + octets[2 * i + 1]!).toString(16),
  );
  return { ip: canonicalIp(groups.join(":"))!, port };
}
