/** MAC addresses derived from machine and place (specification, section 12). */

/** SHA-256 of the UTF-8 octets of a text */
export type Sha256 = (text: string) => Uint8Array;

/** 52:55:55 and three octets of the digest; `id` is the instance folder, or "<path of lima.yaml>#<index>". */
export function derivedMac(sha256: Sha256, machineId: string, id: string): string {
  const digest = sha256(machineId + id);
  return `52:55:55:${Array.from(digest.subarray(0, 3), (octet) => octet.toString(16).padStart(2, "0")).join(":")}`;
}

/** The UUID in what `ioreg -a -d2 -c IOPlatformExpertDevice` prints, as it is printed; undefined: there is none. */
export function platformUuid(plist: string): string | undefined {
  return /<key>IOPlatformUUID<\/key>\s*<string>([^<]+)<\/string>/.exec(plist)?.[1];
}
