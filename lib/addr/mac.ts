/** MAC addresses (IEEE 802) as integers 0..2^48-1. */

export const BROADCAST_MAC = 0xffffffffffff;

/** Accepts aa:bb:…, aa-bb-… and aabb.ccdd.eeff; undefined for anything else */
export function parseMac(text: string): number | undefined {
  const pairs = /^[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i;
  const quads = /^(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}$/i;
  if (!pairs.test(text) && !quads.test(text)) return undefined;
  return Number.parseInt(text.replaceAll(/[:.-]/g, ""), 16);
}

export function formatMac(mac: number): string {
  const digits = mac.toString(16).padStart(12, "0");
  return digits.replace(/(..)(?=.)/g, "$1:");
}

/** group bit: multicast or broadcast */
export const isGroupMac = (mac: number): boolean => (Math.floor(mac / 0x100_0000_0000) & 1) === 1;
