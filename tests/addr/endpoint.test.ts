import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatEndpoint, parseEndpoint } from "../../lib/addr/endpoint.ts";

test.each([
  ["127.0.0.1:22", "127.0.0.1", 22],
  [":8080", "", 8080],
  ["[::1]:53", "::1", 53],
  ["[::ffff:192.0.2.1]:53", "::ffff:192.0.2.1", 53],
  ["[::]:0", "::", 0],
  ["localhost:65535", "localhost", 65_535],
])("parseEndpoint(%s), and formatEndpoint() undoes it", (text, host, port) => {
  expect(parseEndpoint(text)).toEqual({ host, port });
  expect(formatEndpoint({ host, port })).toBe(text);
});

test.each([
  "",
  ":",
  "127.0.0.1",
  "127.0.0.1:",
  "::1:53",
  "::1",
  "[::1]",
  "[::1]53",
  "[]:53",
  "[::1:53",
  "::1]:53",
  "[localhost]:53",
  "host:65536",
  "host:100000",
  "host:000022",
  "host:-1",
  "host:+1",
  "host: 1",
  "host:1 ",
  "host:1\n",
  "host:0x10",
  "a:b",
])("parseEndpoint(%j) refuses what has no port, or no address in brackets", (text) =>
  expect(parseEndpoint(text)).toBeUndefined(),
);

test("parseEndpoint() takes whatever formatEndpoint() makes", () => {
  const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain(), fc.constant(""));
  fc.assert(
    fc.property(fc.record({ host, port: fc.nat(65_535) }, { noNullPrototype: true }), (endpoint) =>
      expect(parseEndpoint(formatEndpoint(endpoint))).toEqual(endpoint),
    ),
  );
});
