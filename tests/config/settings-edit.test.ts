/** What --network, --dns and the other options do to lima.yaml (specification 3.9, with 21's mending). */
import { expect, test } from "bun:test";
import { parse } from "yaml";
import { editSettings, hasEdits, type SettingsOptions } from "../../lib/config/settings-edit.ts";

const edited = (text: string, options: SettingsOptions) =>
  parse(editSettings(text, options).text) as unknown;

const rows: [string, SettingsOptions, object][] = [
  ["", { cpus: 3 }, { cpus: 3 }],
  ["cpus: 1\n", { cpus: 3 }, { cpus: 3 }],
  ["", { memory: "4" }, { memory: "4GiB" }],
  ["", { memory: "1.5", disk: "30" }, { memory: "1.5GiB", disk: "30GiB" }],
  ["", { memory: "512MiB" }, { memory: "512MiB" }],
  ["", { vmType: "vz" }, { vmType: "vz" }],
  [
    "ssh: {forwardAgent: true}\n",
    { sshPort: 60022 },
    { ssh: { forwardAgent: true, localPort: 60022 } },
  ],
  ["", { plain: true }, { plain: true }],
  ["", { param: ["A=b=c", "B="] }, { param: { A: "b=c", B: "" } }],
  ["", { network: ["lima:shared"] }, { networks: [{ lima: "shared" }] }],
  ["", { network: ["vzNAT", "lima:a"] }, { networks: [{ vzNAT: true }, { lima: "a" }] }],
  ["networks:\n", { network: ["vzNAT"] }, { networks: [{ vzNAT: true }] }],
  // one of each name is left, the first one
  [
    "networks: [{lima: a, metric: 5}, {lima: b}]\n",
    { network: ["lima:a", "lima:c", "lima:c"] },
    { networks: [{ lima: "a", metric: 5 }, { lima: "b" }, { lima: "c" }] },
  ],
  // entries without a name are no copies of each other
  [
    "networks: [{socket: /a}, {socket: /b}, {vzNAT: true}]\n",
    { network: ["vzNAT", "lima:c"] },
    { networks: [{ socket: "/a" }, { socket: "/b" }, { vzNAT: true }, { lima: "c" }] },
  ],
  [
    "networks: [{vzNAT: true, interface: a0}]\n",
    { network: ["vzNAT"] },
    { networks: [{ vzNAT: true, interface: "a0" }, { vzNAT: true }] },
  ],
  ["", { dns: ["1.1.1.1"] }, { dns: ["1.1.1.1"], hostResolver: { enabled: false } }],
  [
    "dns: [9.9.9.9, 1.1.1.1]\nhostResolver: {ipv6: true}\n",
    { dns: ["1.1.1.1", "8.8.8.8", "8.8.8.8"] },
    { dns: ["9.9.9.9", "1.1.1.1", "8.8.8.8"], hostResolver: { ipv6: true, enabled: false } },
  ],
  [
    "portForwards: [{guestPort: 1}]\n",
    { portForward: ["8080:80", " 53 : 54 , static = true ", "1:2,static=false"] },
    {
      portForwards: [
        { guestPort: 1 },
        { guestPort: 80, hostPort: 8080 },
        { guestPort: 54, hostPort: 53, static: true },
        { guestPort: 2, hostPort: 1, static: false },
      ],
    },
  ],
  // the order is fixed: dns, network, then set, then the port of ssh
  [
    "",
    {
      sshPort: 5,
      set: [".networks[0].metric = 7", ".hostResolver.enabled = true | .ssh.localPort = 9"],
      network: ["lima:a"],
      dns: ["1.1.1.1"],
    },
    {
      dns: ["1.1.1.1"],
      hostResolver: { enabled: true },
      networks: [{ lima: "a", metric: 7 }],
      ssh: { localPort: 5 },
    },
  ],
];
test.each(rows)("%j with %j", (text, options, value) =>
  expect(edited(text, options)).toEqual(value),
);

test("an alias is changed in its own place only", () => {
  const text = "x: &l [{lima: a}]\nnetworks: *l\n";
  expect(edited(text, { network: ["lima:b"] })).toEqual({
    x: [{ lima: "a" }],
    networks: [{ lima: "a" }, { lima: "b" }],
  });
});

test.each([
  ["networks: {lima: a}\n", { network: ["lima:b"] }, "Cannot add to networks: it is no list"],
  ["ssh: 22\n", { sshPort: 5 }, "Cannot change ssh: it is no mapping"],
] as [string, SettingsOptions, string][])("%j is not overwritten by %j", (text, options, why) => {
  expect(() => editSettings(text, options)).toThrow(why);
});

test.each([
  [{ network: ["shared"] }, "network name must be `vzNAT` or `lima:*`, got `shared`"],
  [{ network: ["lima:"] }, "network name must be `vzNAT` or `lima:*`, got `lima:`"],
  [{ portForward: ["80"] }, "not of the form HOST:GUEST"],
  [{ portForward: ["a:80"] }, "not of the form HOST:GUEST"],
  [{ portForward: ["80:80,static=yes"] }, "not of the form HOST:GUEST"],
  [{ param: ["A"] }, "not of the form KEY=VALUE"],
  [{ set: ["nonsense"] }, "Cannot apply --set nonsense"],
] as [SettingsOptions, string][])("%j is refused", (options, why) => {
  expect(() => editSettings("", options)).toThrow(why);
});

test("--dns warns that it takes the host resolver's place, nothing else warns", () => {
  expect(editSettings("", { dns: ["1.1.1.1"] }).warnings).toEqual([
    "warning: the host resolver is disabled, as --dns 1.1.1.1 takes its place",
  ]);
  expect(editSettings("", { cpus: 1 }).warnings).toEqual([]);
});

test("comments, long lines and the lists' indentation stay", () => {
  const long = `message: ${"word ".repeat(40).trim()}`;
  const text = `# mine\n${long}\nnetworks:\n- lima: a # first\n`;
  expect(editSettings(text, { network: ["lima:b"], cpus: 2 }).text).toBe(
    `# mine\n${long}\nnetworks:\n- lima: a # first\n- lima: b\ncpus: 2\n`,
  );
  expect(editSettings("networks:\n  - lima: a\n", { network: ["lima:b"] }).text).toBe(
    "networks:\n  - lima: a\n  - lima: b\n",
  );
});

test("without options, and where there is no YAML, the text is as it was", () => {
  for (const text of ["a:   1 # x\n", "", "{"]) {
    expect(editSettings(text, {}).text).toBe(text);
    expect(hasEdits({})).toBe(false);
  }
  expect(editSettings("{", { cpus: 1 }).text).toBe("{");
});
