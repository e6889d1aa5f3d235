/** IP addresses of both families by their text, where only comparing counts. */
import { parseIpv4 } from "./ipv4.ts";

/** One form for every spelling of an address (RFC 5952 for IPv6); undefined when the text is no IP address. */
export function canonicalIp(text: string): string | undefined {
  if (parseIpv4(text) !== undefined) return text.split(".").map(Number).join(".");
  if (!text.includes(":") || !/^[0-9a-f:.]+$/i.test(text)) return undefined;
  const url = `http://[${text}]/`;
  return URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : undefined;
}

/** the addresses that stand for all of a machine's own */
export const isWildcardIp = (ip: string): boolean => ip === "0.0.0.0" || ip === "::";

/** 127.0.0.0/8 and ::1 */
export const isLoopbackIp = (ip: string): boolean => ip.startsWith("127.") || ip === "::1";
