/** Rules of portForwards: read, filled, checked (specification, sections 17.1 and 17.2). */
import { expect, test } from "bun:test";
import { formatDiagnostic } from "../../lib/config/document.ts";
import { parseInstance } from "../../lib/config/instance.ts";

const IMAGE = "images: [{location: /disk.qcow2}]\n";
const parse = (text: string) => parseInstance(IMAGE + text, "lima.yaml");
const good = (text: string) => {
  const { config, diagnostics } = parse(text);
  expect(diagnostics.map(formatDiagnostic)).toEqual([]);
  return config!;
};
/** all complaints about a text, whose image is right */
const complaints = (text: string) => {
  const { config, diagnostics } = parse(text);
  if (diagnostics.some(({ severity }) => severity === "error")) expect(config).toBeUndefined();
  return diagnostics.map(formatDiagnostic);
};

const RULE = {
  guestIP: "127.0.0.1",
  guestIPMustBeZero: false,
  guestPortRange: [1, 65535],
  hostIP: "127.0.0.1",
  hostPortRange: [1, 65535],
  proto: "any",
  reverse: false,
  ignore: false,
  static: false,
} as const;
const ports = (guest: number, host: number, count = 1) => ({
  guestPortRange: [guest, guest + count - 1],
  hostPortRange: [host, host + count - 1],
});

test.each([
  ["{}", {}],
  ["ignore: true", { ignore: true }],
  ["guestPort: 80", ports(80, 80)],
  ["guestPort: 0", {}],
  ["guestPortRange: [0, 0]", {}],
  ["hostPort: 0, guestPort: 80", ports(80, 80)],
  ["guestPort: 80, hostPort: 8080", ports(80, 8080)],
  // as --port-forward writes them
  ['guestPort: "80", hostPort: "8080", static: true', { ...ports(80, 8080), static: true }],
  ['guestPortRange: ["80", "81"]', ports(80, 80, 2)],
  ["guestPortRange: [100, 109], hostPortRange: [200, 209]", ports(100, 200, 10)],
  ["guestPort: 100, guestPortRange: [100, 109]", ports(100, 100, 10)],
  ["guestPortRange: [21, 23]", ports(21, 21, 3)],
  ["guestIPMustBeZero: true", { guestIP: "0.0.0.0", guestIPMustBeZero: true }],
  ["guestIP: 0.0.0.0", { guestIP: "0.0.0.0", guestIPMustBeZero: true }],
  ["guestIP: 0.0.0.0, guestIPMustBeZero: false", { guestIP: "0.0.0.0" }],
  ['guestIP: "::"', { guestIP: "::" }],
  ['guestIP: "0:0::1", hostIP: "::1"', { guestIP: "::1", hostIP: "::1" }],
  ["hostIP: 0.0.0.0, proto: udp", { hostIP: "0.0.0.0", proto: "udp" }],
  ["guestPort: 2375, hostSocket: /tmp/d.sock", { ...ports(2375, 2375), hostSocket: "/tmp/d.sock" }],
  ["guestPort: 2375, hostSocket: d.sock", { ...ports(2375, 2375), hostSocket: "d.sock" }],
  [
    'guestSocket: "/run/user/{{.UID}}/d.sock", hostSocket: "{{.Dir}}/sock/d.sock"',
    { guestSocket: "/run/user/{{.UID}}/d.sock", hostSocket: "{{.Dir}}/sock/d.sock" },
  ],
  // Lima refuses this, as its guest ports are then all there are (specification, section 21)
  [
    "guestSocket: /run/d.sock, hostPort: 2375",
    { guestSocket: "/run/d.sock", hostPortRange: [2375, 2375] },
  ],
  [
    "guestSocket: /run/d.sock, hostSocket: d.sock, reverse: true",
    { guestSocket: "/run/d.sock", hostSocket: "d.sock", reverse: true },
  ],
])("{%s} is filled", (text, more) => {
  const [rule] = good(
    `portForwards:\n- ${text.startsWith("{") ? text : `{${text}}`}\n`,
  ).portForwards;
  expect(rule as object).toEqual({ ...RULE, ...more });
});

// the rule stands in line 3, from column 3 on
test.each([
  [
    "guestIP: localhost",
    /^lima\.yaml:3:13: portForwards\[0\]\.guestIP: not an IP address: localhost$/,
  ],
  ["hostIP: 1.2.3.400", /:3:12: portForwards\[0\]\.hostIP: not an IP address/],
  ["hostIP: [1]", /hostIP: a string is needed/],
  [
    "guestIP: 127.0.0.1, guestIPMustBeZero: true",
    /:3:43: .*guestIPMustBeZero: needs guestIP 0\.0\.0\.0, not 127\.0\.0\.1/,
  ],
  ["guestPort: -1", /:3:15: portForwards\[0\]\.guestPort: must be > 0$/],
  ["guestPort: 65536", /guestPort: must be < 65536$/],
  ["guestPort: 22", /guestPort: must not be 22/],
  ["guestPort: eighty", /guestPort: a whole number .*"eighty"/],
  ["guestPort: 1, hostPort: 22", /:3:28: portForwards\[0\]\.hostPort: must not be 22/],
  ["guestPort: 1, hostPort: 70000", /hostPort: must be < 65536$/],
  ["guestPortRange: [0, 9]", /guestPortRange\[0\]: must be set$/],
  ["guestPortRange: [22, 30]", /guestPortRange\[0\]: must not be 22/],
  [
    "guestPortRange: [9, 1]",
    /:3:20: .*guestPortRange: the first port, 9, is greater than the last, 1/,
  ],
  ["hostPortRange: [9, 1], guestPortRange: [1, 9]", /hostPortRange: the first port, 9, is greater/],
  ["guestPortRange: [1]", /guestPortRange: two ports are needed, .* not 1$/],
  ["guestPortRange: [1, 2, 3]", /guestPortRange: two ports are needed, .* not 3$/],
  ["guestPortRange: 80", /guestPortRange: a list is needed/],
  [
    "guestPort: 5, guestPortRange: [1, 9]",
    /:3:15: .*guestPort: must be the first port of guestPortRange, 1$/,
  ],
  [
    "guestPort: 1, hostPort: 5, hostPortRange: [1, 1]",
    /hostPort: must be the first port of hostPortRange, 1$/,
  ],
  [
    "guestPortRange: [1, 9], hostPortRange: [1, 3]",
    /hostPortRange: .*the same length, not 9 and 3$/,
  ],
  ["hostPort: 80", /hostPort: .*the same length, not 65535 and 1$/],
  [
    "guestSocket: run/d.sock, hostSocket: d.sock",
    /guestSocket: must be an absolute path, not run\/d\.sock/,
  ],
  [
    "guestSocket: /a, guestPort: 1, hostSocket: b",
    /guestPort: must not be set together with guestSocket/,
  ],
  [
    "guestPort: 1, hostPort: 1, hostSocket: b",
    /hostPort: must not be set together with hostSocket/,
  ],
  ["guestSocket: /a, hostPortRange: [1, 9]", /guestSocket: needs hostSocket or one hostPort/],
  ["guestSocket: /a", /guestSocket: needs hostSocket or one hostPort/],
  ["guestPortRange: [1, 9], hostSocket: b", /hostSocket: needs one guestPort or guestSocket/],
  ["hostSocket: b", /hostSocket: needs one guestPort or guestSocket/],
  [
    `guestPort: 1, hostSocket: /${"s".repeat(107)}`,
    /hostSocket: must be less than 108 octets long, not 108/,
  ],
  [
    'guestPort: 1, hostSocket: "{{.Dri}}/s"',
    /hostSocket: there is no variable Dri \(did you mean Dir\?\)/,
  ],
  ['guestSocket: "{{.Dir}}/s", hostSocket: s', /guestSocket: there is no variable Dir/],
  ["proto: sctp", /proto: one of tcp, udp, any is needed, not "sctp"/],
  ["guestPort: 1, hostSocket: a, reverse: true", /reverse: needs guestSocket/],
  ["guestSocket: /a, hostPort: 1, reverse: true", /reverse: needs hostSocket/],
  ["ignore: 3", /ignore: true or false is needed/],
  ["static: never", /static: true or false is needed/],
])("{%s} is refused in its place", (text, pattern) => {
  expect(complaints(`portForwards:\n- {${text}}\n`).join("\n")).toMatch(pattern);
});

test("all that is wrong with rules is told, in the order of the file", () => {
  const text = `portForwards:
- {guestIP: x, proto: y, reverse: true}
- {guestPort: 22, hostPort: 22}
- {guestPrt: 1}
`;
  expect(
    complaints(text).map((line) => line.replace(/^[^ ]* (warning: )?([^:]*):.*$/, "$2")),
  ).toEqual([
    "portForwards[0].guestIP",
    "portForwards[0].proto",
    "portForwards[0].reverse",
    "portForwards[0].reverse",
    "portForwards[1].guestPort",
    "portForwards[1].hostPort",
    "portForwards[2].guestPrt",
  ]);
});

test("a range beside a socket does not count, and that is said", () => {
  const text = "portForwards:\n- {guestSocket: /a, guestPortRange: [1, 2], hostSocket: b}\n";
  expect(complaints(text)).toEqual([
    "lima.yaml:3:37: warning: portForwards[0].guestPortRange: does not count, as guestSocket is set",
  ]);
});
