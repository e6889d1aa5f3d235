/** Words of networks.yaml and lima.yaml that try to be more than a word: of the sudoers file, of root's command lines, of ssh and QEMU. */
import { describe, expect, test } from "bun:test";
import { parseInstance } from "../../lib/config/instance.ts";
import { parseNetworks } from "../../lib/config/networks.ts";
import { qemuArguments } from "../../lib/driver/qemu.ts";
import { sshConfigText } from "../../lib/instance/ssh.ts";
import type { FileFacts } from "../../lib/privilege/path-check.ts";
import { platformFacts } from "../../lib/privilege/platform.ts";
import { allowedCommands, sudoersText } from "../../lib/privilege/sudoers.ts";
import { validationProblem } from "../../lib/privilege/validation.ts";

const HOSTILE = [
  "-x",
  "--vmnet-mode=bridged",
  "-oProxyCommand=id",
  "a b",
  "a\tb",
  "a\nb",
  "a\n%wheel ALL=(ALL) NOPASSWD: ALL",
  "a\r\nb",
  "a\u0000b",
  "a\u2028b",
  "a\u00a0b",
  "a,b",
  "a, /bin/sh",
  "a=b",
  "a:b",
  "a*",
  "a?",
  "a[b]",
  "a\\",
  "a\\nb",
  "!a",
  "#0",
  "%wheel",
  "@include",
  '"a"',
  "'a'",
  "$(id)",
  "`id`",
  "a;id",
  "a|id",
  "a&id",
  "../../etc/passwd",
  "a/b",
  "ALL",
  "a".repeat(200),
];
const LINUX = platformFacts("linux", "users");
const FOLDER: FileFacts = { kind: "folder", uid: 0, gid: 0, mode: 0o755 };
/** everything there is root's, whatever it is called */
const ALL_ROOTS = { lstat: () => FOLDER };
const ACCOUNTS = { rootGroup: { name: "root", gid: 0 }, daemonGid: 1 };

/** networks.yaml with a word in one of its places */
const PLACES: Record<string, (word: string) => object> = {
  group: (group) => ({ group }),
  "network's name": (name) => ({ networks: { [name]: { mode: "host", gateway: "192.168.9.1" } } }),
  mode: (mode) => ({ networks: { a: { mode, gateway: "192.168.9.1" } } }),
  interface: (word) => ({ networks: { a: { mode: "bridged", interface: word } } }),
  gateway: (gateway) => ({ networks: { a: { mode: "shared", gateway } } }),
  dhcpEnd: (dhcpEnd) => ({ networks: { a: { mode: "shared", gateway: "192.168.9.1", dhcpEnd } } }),
  netmask: (netmask) => ({ networks: { a: { mode: "shared", gateway: "192.168.9.1", netmask } } }),
  mtu: (mtu) => ({ networks: { a: { mode: "shared", gateway: "192.168.9.1", mtu } } }),
  socketVMNet: (word) => ({ paths: { socketVMNet: `/opt/${word}` } }),
  "socketVMNet as a whole": (socketVMNet) => ({ paths: { socketVMNet } }),
  varRun: (word) => ({ paths: { varRun: `/run/${word}` } }),
  "varRun as a whole": (varRun) => ({ paths: { varRun } }),
};
const PATHS = { socketVMNet: "/opt/x", varRun: "/run/limanet", sudoers: "/etc/sudoers.d/x" };
/** a word that means itself in a sudoers file, in a command line as an option's value, or as a path */
const WORD = /^[\p{L}\p{N}/._@%+=-]+$/u;

describe.each(Object.entries(PLACES))("networks.yaml, %s", (_place, put) => {
  test.each(HOSTILE)("%j is refused, or a word like any other", (word) => {
    const document = put(word) as { paths?: object; group?: string; networks?: object };
    const text = JSON.stringify({
      group: "users",
      networks: { host: { mode: "host", gateway: "192.168.8.1" } },
      ...document,
      paths: { ...PATHS, ...document.paths },
    });
    const { config } = parseNetworks(text, "networks.yaml");
    if (config === undefined) return;
    if (validationProblem(config, LINUX, ALL_ROOTS, ACCOUNTS) !== undefined) return;
    const commands = allowedCommands(config, LINUX);
    for (const command of commands) for (const each of command) expect(each).toMatch(WORD);
    // a command's first word is a whole path, and no other begins as an option that the network's settings have not
    for (const [program, ...words] of commands) {
      expect(program).toStartWith("/");
      for (const each of words.filter((one) => one.startsWith("-")))
        expect(each).toMatch(
          /^(-m|-p|-F|--(pidfile|socket-group|vmnet-(mode|interface|gateway|dhcp-end|mask)|mtu)=[^=-][^=]*)$/,
        );
    }
    // nothing but grants of these commands, and remarks
    const lines = sudoersText(config, LINUX, true).replaceAll("\\\n", "").split("\n");
    const grant = /^%[A-Za-z0-9._-]+ ALL=\(root:root\) NOPASSWD:NOSETENV: /;
    for (const line of lines)
      if (line !== "") expect(line).toMatch(line.startsWith("# Manage") ? /^# Manage "/ : grant);
    const granted = lines.flatMap((line) =>
      grant.test(line) ? line.replace(grant, "").trim().split(/,\s+/) : [],
    );
    expect(granted.map((line) => line.trim())).toEqual(commands.map((each) => each.join(" ")));
  });
});

describe("lima.yaml", () => {
  test.each(HOSTILE)("user.name: %j is refused, or one line of ssh.config", (word) => {
    const text = JSON.stringify({ images: [{ location: "/x" }], user: { name: word } });
    const { config } = parseInstance(text, "lima.yaml");
    if (config?.user.name === undefined) return;
    const target = { home: "/h", name: "vm", user: config.user.name, port: 1 };
    const more = { forwardAgent: false, forwardX11: false, forwardX11Trusted: false };
    const plain = sshConfigText({ ...target, ...more, user: "ada" }).split("\n");
    const lines = sshConfigText({ ...target, ...more }).split("\n");
    expect(lines).toHaveLength(plain.length);
    expect(lines.filter((line, index) => line !== plain[index])).toEqual([`  User ${word}`]);
  });

  test.each(HOSTILE)("what QEMU gets is as many words and options with %j as without", (word) => {
    const argumentsWith = (each: string) =>
      qemuArguments({
        arch: "x86_64",
        accelerator: "tcg",
        version: [9, 0],
        cpus: 1,
        memory: 2 ** 28,
        name: "vm",
        disk: { path: `/h/${each}/disk`, format: "qcow2" },
        kernel: `/h/${each}/vmlinuz`,
        cmdline: each,
        initrd: `/h/${each}/initrd`,
        cidata: `/h/${each}/cidata`,
        qmp: `/h/${each}/qmp`,
        pidFile: `/h/${each}/pid`,
        serialLog: `/h/${each}/log`,
        nics: [
          {
            mac: "52:55:55:00:00:01",
            backend: {
              kind: "switch",
              network: "n",
              stream: `/h/${each}/s`,
              descriptors: "/h/d",
              absence: "told",
            },
          },
        ],
      });
    const plain = argumentsWith("plain");
    const words = argumentsWith(word);
    expect(words).toHaveLength(plain.length);
    const optionsOf = (text: string) => text.replaceAll(",,", "").split(",").length;
    words.forEach((each, index) => {
      const option = words[index - 1];
      // these two are whole words, and -serial file: takes the rest of its own as a path
      if (["-kernel", "-initrd", "-append", "-pidfile", "-serial"].includes(option ?? "")) return;
      expect(optionsOf(each)).toBe(optionsOf(plain[index]!));
    });
  });
});
