import { expect, test } from "bun:test";
import { parseKernelEndpoint } from "../../lib/addr/kernel-endpoint.ts";

const V6 = "0".repeat(32);

test.each([
  ["0100007F:1F90", "little", "127.0.0.1", 8080],
  ["7F000001:1F90", "big", "127.0.0.1", 8080],
  ["00000000:0016", "little", "0.0.0.0", 22],
  ["0F05A8C0:FFFF", "little", "192.168.5.15", 65535],
  [`${V6}:0050`, "little", "::", 80],
  ["00000000000000000000000001000000:0050", "little", "::1", 80],
  ["00000000000000000000000000000001:0050", "big", "::1", 80],
  // fe80::5055:ff:fe12:3456
  ["000080FE00000000FF005550563412FE:0222", "little", "fe80::5055:ff:fe12:3456", 546],
  ["FE80000000000000505500FFFE123456:0222", "big", "fe80::5055:ff:fe12:3456", 546],
  // IPv4 in an IPv6 socket, as Java has it
  ["0000000000000000FFFF00000100007F:1F90", "little", "127.0.0.1", 8080],
  ["00000000000000000000FFFF7F000001:1F90", "big", "127.0.0.1", 8080],
] as const)("parseKernelEndpoint(%s, %s) is %s %d", (text, order, ip, port) => {
  expect(parseKernelEndpoint(text, order)).toEqual({ ip, port });
  expect(parseKernelEndpoint(text.toLowerCase(), order)).toEqual({ ip, port });
});

test.each([
  "",
  "0100007F",
  "0100007F:",
  "0100007:1F90",
  "0100007F:1F9",
  "0100007F:1F900",
  "0100007G:1F90",
  ` 0100007F:1F90`,
  `${V6}00:0050`,
])("parseKernelEndpoint(%j) is none", (text) => {
  expect(parseKernelEndpoint(text, "little")).toBeUndefined();
});
