/** lima.yaml and the values that follow from them. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { formatDiagnostic, nearest } from "../../lib/config/document.ts";
import { parseInstance, parseSize } from "../../lib/config/instance.ts";
import { hostnameOf, identifierProblem, instanceNameProblem } from "../../lib/config/names.ts";

const IMAGE = "images: [{location: /disk.qcow2}]\n";
const parse = (text: string) => parseInstance(text, "lima.yaml");
const good = (text: string) => {
  const { config, diagnostics } = parse(IMAGE + text);
  expect(diagnostics.map(formatDiagnostic)).toEqual([]);
  return config!;
};
/** all complaints about a text, whose image is right */
const complaints = (text: string) => {
  const { config, diagnostics } = parse(IMAGE + text);
  if (diagnostics.some(({ severity }) => severity === "error")) expect(config).toBeUndefined();
  return diagnostics.map(formatDiagnostic);
};

describe("lima.yaml", () => {
  test("what is not said has its default", () => {
    expect(good("")).toEqual({
      vmType: "qemu",
      arch: "x86_64",
      images: [{ arch: "x86_64", disk: { location: "/disk.qcow2" } }],
      cpus: 2,
      memory: 2 * 1024 ** 3,
      disk: 20 * 1024 ** 3,
      networks: [],
      hostResolver: { enabled: true, ipv6: false, hosts: {} },
      dns: [],
      hostAccess: "all",
      linkLocalAccess: false,
      vhostUser: false,
      portForwards: [],
      ssh: {
        localPort: 0,
        loadDotSSHPubKeys: false,
        forwardAgent: false,
        forwardX11: false,
        forwardX11Trusted: false,
      },
      propagateProxyEnv: true,
      env: {},
      param: {},
      provision: [],
      plain: false,
      user: { shell: "/bin/sh" },
    });
  });

  test("hostResolver has two keys of our own", () => {
    const text = "hostResolver: {publicFallback: false, emptyOnOutage: true}";
    expect(good(text).hostResolver).toMatchObject({ publicFallback: false, emptyOnOutage: true });
    expect(complaints("hostResolver: {publicFallback: 1}").join()).toMatch(
      /hostResolver\.publicFallback: true or false is needed/,
    );
  });

  test("hostAccess and linkLocalAccess say what the guest reaches of the host", () => {
    expect(good("hostAccess: none")).toMatchObject({ hostAccess: "none" });
    expect(good("hostAccess: [22, 5432]\nlinkLocalAccess: true")).toMatchObject({
      hostAccess: [22, 5432],
      linkLocalAccess: true,
    });
    expect(complaints("hostAccess: some").join()).toMatch(
      /^\S+:\d+:13: hostAccess: one of all, none/,
    );
    expect(complaints("hostAcess: none").join()).toMatch(/did you mean hostAccess/);
  });

  test("networks have names, metrics and addresses of their own", () => {
    const text = `vmType: vz
networks:
- lima: user-v2
- {socket: /tmp/x.sock, interface: data0, metric: 7, macAddress: "52:55:55:AA:BB:CC"}
- vzNAT: true
`;
    expect(good(text).networks).toEqual([
      { lima: "user-v2", interface: "lima0", metric: 100 },
      { socket: "/tmp/x.sock", interface: "data0", metric: 7, macAddress: "52:55:55:aa:bb:cc" },
      { vzNAT: true, interface: "lima2", metric: 100 },
    ]);
  });

  test("keys of Lima's that have nothing to do with networks are taken without a word", () => {
    expect(
      complaints("mounts: [{location: ~}]\ncontainerd: {system: false}\nmessage: hi\n"),
    ).toEqual([]);
  });

  test("an alias stands for what it is an alias of", () => {
    expect(good("env: &e {A: one}\nhostResolver: {hosts: *e}\n").hostResolver.hosts).toEqual({
      A: "one",
    });
  });

  test.each([
    ["an executable", "\x7fELF\x02\x01\0\0 and much more".repeat(1000), 1, 1],
    ["a control character in a line of text", "cpus: 1\nmemory: 1G\0iB\n", 2, 11],
  ])("%s is no YAML, and its content is not repeated", (_what, text, line, column) => {
    expect(parse(text).diagnostics.map(formatDiagnostic)).toEqual([
      `lima.yaml:${line}:${column}: this is not text: YAML takes no control characters`,
    ]);
  });

  test("of a long value no more is repeated than people read", () => {
    const [said = ""] = complaints(`cpus: ${"m".repeat(5000)}\n`);
    expect(said).toContain(`not "${"m".repeat(59)}…"`);
    expect(said.length).toBeLessThan(200);
  });

  // line 1 is the image, so the text begins in line 2
  test.each([
    ["cpus: many", /^lima\.yaml:2:7: cpus: .*"many"/],
    ["cpus: 0", /^lima\.yaml:2:7: cpus: /],
    ["memory: big", /^lima\.yaml:2:9: memory: a size such as 4GiB is needed, not "big"/],
    ["vmType: xen", /^lima\.yaml:2:9: vmType: .*qemu.*vz.*xen/],
    ["plain: 3", /^lima\.yaml:2:8: plain: /],
    ["cpus: 1\ncpus: 2", /^lima\.yaml:3:1: /],
    ["memroy: 1GiB", /^lima\.yaml:2:1: warning: .*memroy.*memory/],
    ["hostResolver: {hsots: {}}", /^lima\.yaml:2:16: warning: .*hsots.*hosts/],
    ["ssh: {localPort: 70000}", /^lima\.yaml:2:18: ssh\.localPort: .*70000/],
    ["ssh: {localPort: 22}", /^lima\.yaml:2:18: ssh\.localPort: must not be 22/],
    ["dns: [1.1.1.1]", /^lima\.yaml:2:6: dns: must be empty when hostResolver\.enabled is true/],
    ["dns: [one.one]", /^lima\.yaml:2:7: dns\[0\]: not an IP address: one\.one/],
    ["provision: [{mode: bot, script: x}]", /provision\[0\]\.mode: .*system.*user.*boot.*"bot"/],
    ["user: {name: Root!}", /user\.name: not a Linux user name/],
    ["images: 3", /lima\.yaml:2:1/],
  ])("%j is complained about in its place", (text, pattern) => {
    expect(complaints(`${text}\n`).join("\n")).toMatch(pattern);
  });

  test("all that is wrong is told at once, in the order of the file", () => {
    expect(
      complaints("cpus: a\nmemory: b\ndisk: c\nnosuchkey: d\n").map((line) => line.split(":")[1]),
    ).toEqual(["2", "3", "4", "5"]);
  });

  test.each([
    ["images: []", /at least one image/],
    ["images: [{}]", /images\[0\]\.location: a path or URL is needed/],
    [
      "images: [{location: x, digest: md5:1}]",
      /images\[0\]\.digest: sha256: with 64 or sha512: with 128/,
    ],
    ["images: [{location: x, arch: m68k}]", /images\[0\]\.arch: .*x86_64.*aarch64/],
    ["images: [{kernel: {location: k}}]", /only a guest with kernel and initrd may do without/],
    ["", /at least one image/],
    ["- a list", /a mapping is needed|mapping/],
    ["{", /lima\.yaml:1:/],
  ])("%j is no lima.yaml", (text, pattern) => {
    expect(parse(text).diagnostics.map(formatDiagnostic).join("\n")).toMatch(pattern);
  });

  test("whatever stands in the file, nothing is thrown", () => {
    const key = fc.constantFrom(
      "images",
      "networks",
      "portForwards",
      "ssh",
      "dns",
      "cpus",
      "user",
      "env",
      "hostResolver",
      "provision",
    );
    fc.assert(
      fc.property(fc.dictionary(key, fc.jsonValue({ maxDepth: 3 })), fc.string(), (value, text) => {
        parse(JSON.stringify(value));
        parse(text);
      }),
      { numRuns: 300 },
    );
  });
});

test.each([
  ["4GiB", 4 * 1024 ** 3],
  ["512MiB", 512 * 1024 ** 2],
  ["1.5G", 1.5 * 1024 ** 3],
  ["10 KB", 10_240],
  ["1000000", 1_000_000],
  ["7B", 7],
])("parseSize(%s) is %d octets", (text, octets) => expect(parseSize(text)).toBe(octets));
test.each(["", "big", "0", "-1GiB", "1XB", "1GiBs", "GiB"])("parseSize(%j) refuses it", (text) =>
  expect(parseSize(text)).toBeUndefined(),
);

describe("names", () => {
  test.each(["a", "default", "my-vm_2", "a.b-c", "x".repeat(76)])("%s is a name", (name) =>
    expect(identifierProblem(name)).toBeUndefined(),
  );
  test.each(["", "-a", "a-", "a--b", "a/b", "ä", "x".repeat(77), "a b", ".."])(
    "%j is none",
    (name) => expect(identifierProblem(name)).toContain("letters and digits"),
  );
  test("an instance may not be named like a YAML file", () => {
    expect(instanceNameProblem("debian.yaml")).toContain("YAML");
    expect(instanceNameProblem("debian")).toBeUndefined();
  });
  test("hostnameOf() makes dots and underscores dashes", () => {
    expect(hostnameOf("my_vm.2")).toBe("lima-my-vm-2");
  });
});

test.each([
  ["memroy", "memory"],
  ["MEMORY", "memory"],
  ["netwroks", "networks"],
  ["zzzzzzz", undefined],
])("nearest(%s) is %s", (word, known) => {
  expect(nearest(word, ["memory", "networks", "cpus"])).toBe(known);
});
