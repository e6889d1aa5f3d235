/** The sudoers text and the command lines in it, octet for octet (specification, sections 6.2 and 6.3). */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { NetworksConfig } from "../../lib/config/networks.ts";
import { asRoot, startCommand, stopCommand } from "../../lib/privilege/commands.ts";
import { platformFacts } from "../../lib/privilege/platform.ts";
import {
  allowedCommands,
  installHint,
  shortDiff,
  sudoersText,
} from "../../lib/privilege/sudoers.ts";

const MAC = platformFacts("darwin", "staff");
const LINUX = platformFacts("linux", "ada");

const CONFIG: NetworksConfig = {
  paths: {
    socketVMNet: "/opt/socket_vmnet/bin/socket_vmnet",
    varRun: "/private/var/run/lima",
    sudoers: "/private/etc/sudoers.d/lima",
  },
  group: "everyone",
  networks: {
    "user-v2": { mode: "user-v2", gateway: "192.168.104.1", netmask: "255.255.255.0" },
    shared: {
      mode: "shared",
      gateway: "192.168.105.1",
      dhcpEnd: "192.168.105.254",
      netmask: "255.255.255.0",
    },
    bridged: { mode: "bridged", interface: "en0" },
    host: {
      mode: "host",
      gateway: "192.168.106.1",
      dhcpEnd: "192.168.106.254",
      netmask: "255.255.255.0",
    },
  },
};

const GOLDEN = `%everyone ALL=(root:wheel) NOPASSWD:NOSETENV: /bin/mkdir -m 775 -p /private/var/run/lima

# Manage "bridged" network daemons

%everyone ALL=(root:wheel) NOPASSWD:NOSETENV: \\
    /opt/socket_vmnet/bin/socket_vmnet --pidfile=/private/var/run/lima/bridged_socket_vmnet.pid --socket-group=everyone --vmnet-mode=bridged --vmnet-interface=en0 /private/var/run/lima/socket_vmnet.bridged, \\
    /usr/bin/pkill -F /private/var/run/lima/bridged_socket_vmnet.pid

# Manage "host" network daemons

%everyone ALL=(root:wheel) NOPASSWD:NOSETENV: \\
    /opt/socket_vmnet/bin/socket_vmnet --pidfile=/private/var/run/lima/host_socket_vmnet.pid --socket-group=everyone --vmnet-mode=host --vmnet-gateway=192.168.106.1 --vmnet-dhcp-end=192.168.106.254 --vmnet-mask=255.255.255.0 /private/var/run/lima/socket_vmnet.host, \\
    /usr/bin/pkill -F /private/var/run/lima/host_socket_vmnet.pid

# Manage "shared" network daemons

%everyone ALL=(root:wheel) NOPASSWD:NOSETENV: \\
    /opt/socket_vmnet/bin/socket_vmnet --pidfile=/private/var/run/lima/shared_socket_vmnet.pid --socket-group=everyone --vmnet-mode=shared --vmnet-gateway=192.168.105.1 --vmnet-dhcp-end=192.168.105.254 --vmnet-mask=255.255.255.0 /private/var/run/lima/socket_vmnet.shared, \\
    /usr/bin/pkill -F /private/var/run/lima/shared_socket_vmnet.pid
`;

test("sudoersText() of the default networks on macOS", () => {
  expect(sudoersText(CONFIG, MAC, true)).toBe(GOLDEN);
});

test("sudoersText() without the program names the networks only", () => {
  expect(sudoersText(CONFIG, MAC, false)).toBe(
    `%everyone ALL=(root:wheel) NOPASSWD:NOSETENV: /bin/mkdir -m 775 -p /private/var/run/lima

# Manage "bridged" network daemons

# Manage "host" network daemons

# Manage "shared" network daemons
`,
  );
});

test("sudoersText() on Linux, with names in bytewise order and what is left out filled in", () => {
  const networks: NetworksConfig["networks"] = {
    lab: { mode: "host", gateway: "10.1.0.1", mtu: 9000 },
    Lab: { mode: "shared", gateway: "10.2.0.1", netmask: "255.255.0.0" },
    "lab-2": { mode: "shared" },
    lab10: { mode: "nat", gateway: "10.3.0.1" },
    mine: { mode: "user-v2", gateway: "10.4.0.1" },
  };
  const paths = { socketVMNet: "/opt/x", varRun: "/run/limanet", sudoers: "" };
  expect(sudoersText({ paths, group: "", networks }, LINUX, true))
    .toBe(`%ada ALL=(root:root) NOPASSWD:NOSETENV: /bin/mkdir -m 775 -p /run/limanet

# Manage "Lab" network daemons

%ada ALL=(root:root) NOPASSWD:NOSETENV: \\
    /opt/x --pidfile=/run/limanet/Lab_socket_vmnet.pid --socket-group=ada --vmnet-mode=shared --vmnet-gateway=10.2.0.1 --vmnet-dhcp-end=10.2.0.254 --vmnet-mask=255.255.0.0 /run/limanet/socket_vmnet.Lab, \\
    /usr/bin/pkill -F /run/limanet/Lab_socket_vmnet.pid

# Manage "lab" network daemons

%ada ALL=(root:root) NOPASSWD:NOSETENV: \\
    /opt/x --pidfile=/run/limanet/lab_socket_vmnet.pid --socket-group=ada --vmnet-mode=host --vmnet-gateway=10.1.0.1 --vmnet-dhcp-end=10.1.0.254 --vmnet-mask=255.255.255.0 --mtu=9000 /run/limanet/socket_vmnet.lab, \\
    /usr/bin/pkill -F /run/limanet/lab_socket_vmnet.pid

# Manage "lab-2" network daemons

%ada ALL=(root:root) NOPASSWD:NOSETENV: \\
    /opt/x --pidfile=/run/limanet/lab-2_socket_vmnet.pid --socket-group=ada --vmnet-mode=shared /run/limanet/socket_vmnet.lab-2, \\
    /usr/bin/pkill -F /run/limanet/lab-2_socket_vmnet.pid

# Manage "lab10" network daemons

%ada ALL=(root:root) NOPASSWD:NOSETENV: \\
    /opt/x --pidfile=/run/limanet/lab10_socket_vmnet.pid --socket-group=ada --vmnet-mode=nat /run/limanet/socket_vmnet.lab10, \\
    /usr/bin/pkill -F /run/limanet/lab10_socket_vmnet.pid
`);
});

test("a missing group is admin on macOS", () => {
  const text = sudoersText({ ...CONFIG, group: "" }, MAC, true);
  expect(text).toBe(GOLDEN.replaceAll("everyone", "admin"));
});

test("the words of each command, joined by blanks, are in the text", () => {
  const text = sudoersText(CONFIG, MAC, true);
  const commands = allowedCommands(CONFIG, MAC);
  expect(commands).toHaveLength(7);
  expect(commands).toContainEqual(startCommand(CONFIG, "shared", MAC));
  expect(commands).toContainEqual(stopCommand(CONFIG, "shared"));
  for (const command of commands) expect(text).toContain(command.join(" "));
});

test("asRoot() never asks for a password", () => {
  expect(asRoot(["/bin/x", "y z"], MAC)).toEqual([
    "sudo",
    "--user",
    "root",
    "--group",
    "wheel",
    "--non-interactive",
    "/bin/x",
    "y z",
  ]);
  expect(asRoot(["/bin/x"], LINUX)).toContain("root");
  expect(asRoot(["/bin/x"], LINUX)).not.toContain("wheel");
});

test("installHint() is Lima's", () => {
  expect(installHint("/private/etc/sudoers.d/lima")).toBe(
    '(Hint: run `limanet sudoers >etc_sudoers.d_lima && sudo install -o root etc_sudoers.d_lima "/private/etc/sudoers.d/lima"`)',
  );
});

test.each([
  ["a\nb\n", "a\nb\n", ""],
  ["a\nb\n", "a\nc\n", "  -2: b\n  +2: c"],
  ["", "a\n", "  +1: a"],
  ["a\n", "a", "  -2: "],
  ["x\na\nb", "a\nb\ny", "  -1: x\n  +3: y"],
])("shortDiff(%j, %j)", (is, shouldBe, expected) => expect(shortDiff(is, shouldBe)).toBe(expected));

test("shortDiff() is short", () => {
  const lines = shortDiff("", "a\n".repeat(30)).split("\n");
  expect(lines).toHaveLength(13);
  expect(lines.at(-1)).toBe("  and 18 more lines");
});

test("shortDiff() tells the lines whose removal and insertion make one text of the other", () => {
  const text = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 5 });
  fc.assert(
    fc.property(text, text, (before, after) => {
      const old = before.join("\n").split("\n");
      const lines = shortDiff(before.join("\n"), after.join("\n")).split("\n");
      const numbered = (sign: string) =>
        lines.flatMap((line) => {
          const match = new RegExp(`^  \\${sign}(\\d+): (.*)$`).exec(line);
          return match === null ? [] : [[Number(match[1]), match[2]!] as const];
        });
      const gone = new Map(numbered("-"));
      for (const [at, line] of gone) expect(old[at - 1]).toBe(line);
      const result = old.filter((_, i) => !gone.has(i + 1));
      for (const [at, line] of numbered("+")) result.splice(at - 1, 0, line);
      expect(result.join("\n")).toBe(after.join("\n"));
    }),
  );
});
