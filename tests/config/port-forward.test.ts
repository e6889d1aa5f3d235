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

test("a port forward says as much as it must, and the rest follows", () => {
  const text = `portForwards:
- guestPort: 80
- {guestPort: 53, hostPort: 5353, proto: udp, hostIP: 0.0.0.0, static: true}
- {guestPortRange: [100, 109], hostPortRange: [200, 209]}
- ignore: true
- {guestPort: 2375, hostSocket: /tmp/d.sock}
`;
  const rule = {
    guestIP: "127.0.0.1",
    hostIP: "127.0.0.1",
    proto: "any" as const,
    reverse: false,
    ignore: false,
    static: false,
  };
  expect(good(text).portForwards).toEqual([
    { ...rule, guestPortRange: [80, 80], hostPortRange: [80, 80] },
    {
      ...rule,
      guestPortRange: [53, 53],
      hostPortRange: [5353, 5353],
      proto: "udp",
      hostIP: "0.0.0.0",
      static: true,
    },
    { ...rule, guestPortRange: [100, 109], hostPortRange: [200, 209] },
    { ...rule, guestPortRange: [1, 65535], hostPortRange: [1, 65535], ignore: true },
    {
      ...rule,
      guestPortRange: [2375, 2375],
      hostPortRange: [2375, 2375],
      hostSocket: "/tmp/d.sock",
    },
  ]);
});

test.each([
  ["portForwards: [{hostPort: 22, guestPort: 1}]", /portForwards\[0\]\.hostPort: must not be 22/],
  ["portForwards: [{guestPortRange: [9, 1]}]", /two ports, the smaller first/],
  ["portForwards: [{guestPortRange: [1, 9], hostPortRange: [1, 3]}]", /the same length/],
])("%j is complained about in its place", (text, pattern) => {
  expect(complaints(`${text}\n`).join("\n")).toMatch(pattern);
});
