/** MAC addresses that follow from machine and place (specification, section 12). */
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { derivedMac, platformUuid } from "../../lib/config/mac-address.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest();
const LINUX = "0123456789abcdef0123456789abcdef";
const MACOS = "8A7B6C5D-0123-4567-89AB-CDEF01234567";

test.each([
  // each expected address comes from: printf %s 'MACHINE-ID''ID' | sha256sum | cut -c1-6
  [LINUX, "/home/me/.lima/default", "52:55:55:d3:0a:b1"],
  [LINUX, "/home/me/.lima/default/lima.yaml#0", "52:55:55:68:b2:4e"],
  [LINUX, "/home/me/.lima/default/lima.yaml#1", "52:55:55:8f:b7:ee"],
  [MACOS, "/Users/me/.lima/default", "52:55:55:ef:61:dc"],
  ["myhost", "/home/mé/.lima/default", "52:55:55:48:8b:36"],
])("derivedMac() on %s of %s is %s", (machine, id, mac) => {
  expect(derivedMac(sha256, machine, id)).toBe(mac);
});

// the shape of what `ioreg -a -d2 -c IOPlatformExpertDevice` prints
const IOREG = `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0">
<dict>
	<key>IORegistryEntryChildren</key>
	<array>
		<dict>
			<key>IOObjectClass</key>
			<string>IOPlatformExpertDevice</string>
			<key>IOPlatformSerialNumber</key>
			<string>XYZ</string>
			<key>IOPlatformUUID</key>
			<string>${MACOS}</string>
		</dict>
	</array>
</dict>
</plist>
`;
test.each([
  [IOREG, MACOS],
  [IOREG.replaceAll("\n", "").replaceAll("\t", ""), MACOS],
  [IOREG.replace("IOPlatformUUID", "SomethingElse"), undefined],
  ["", undefined],
])("platformUuid() finds it where it is", (text, uuid) => expect(platformUuid(text)).toBe(uuid!));
