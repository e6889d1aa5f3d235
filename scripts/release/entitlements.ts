/**
 * Entitlements: a property list whose values are all true, and the same in DER as a code signature holds it beside the
 * text (the layout was read from signatures that Apple's codesign has made; tests/release compares with one).
 */

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  utf8: 0x0c,
  sequence: 0x30,
  application16: 0x70,
  context16: 0xb0,
};

/** The keys of an entitlements file. Throws a sentence for anything but keys that are true. */
export function entitlementKeys(plist: string): string[] {
  const body = plist
    .replaceAll(/<\?xml[\s\S]*?\?>|<!DOCTYPE[^>]*>|<!--[\s\S]*?-->/g, "")
    .match(/^\s*<plist version="1\.0">\s*<dict>([\s\S]*)<\/dict>\s*<\/plist>\s*$/)?.[1];
  if (body === undefined) throw new Error("no property list with one dictionary");
  const keys: string[] = [];
  const rest = body.replaceAll(/<key>([\w.-]+)<\/key>\s*<true\s*\/>/g, (_all, key: string) => {
    keys.push(key);
    return "";
  });
  if (rest.trim() !== "") throw new Error(`only keys that are true are known, not ${rest.trim()}`);
  if (new Set(keys).size !== keys.length) throw new Error("a key stands there twice");
  return keys;
}

/** The text that is signed: nothing that one reader of XML could take otherwise than another, such as comments. */
export const entitlementsXml = (keys: readonly string[]): string =>
  `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
${keys.map((key) => `\t<key>${key}</key>\n\t<true/>\n`).join("")}</dict>
</plist>
`;

/** [APPLICATION 16] { version 1, [16] { { key, TRUE }… } }, the keys in the order of their octets */
export function entitlementsDer(keys: readonly string[]): Uint8Array {
  const entries = keys
    .toSorted((a, b) => (a < b ? -1 : 1))
    .map((key) =>
      element(TAG.sequence, [
        ...element(TAG.utf8, new TextEncoder().encode(key)),
        ...element(TAG.boolean, [0xff]),
      ]),
    );
  return new Uint8Array(
    element(TAG.application16, [
      ...element(TAG.integer, [1]),
      ...element(TAG.context16, entries.flat()),
    ]),
  );
}

/** X.690 8.1: tag, length in its definite form, content */
function element(tag: number, content: Iterable<number>): number[] {
  const octets = [...content];
  const { length } = octets;
  if (length < 0x80) return [tag, length, ...octets];
  if (length < 0x100) return [tag, 0x81, length, ...octets];
  return [tag, 0x82, length >>> 8, length & 0xff, ...octets];
}
