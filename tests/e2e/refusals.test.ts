/** What cannot be done, and what is said about it: one sentence with what, why and what to do; nothing is left behind. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { Home } from "../support/machines.ts";

let home: Home;
beforeAll(() => {
  home = new Home(".cache/guest", ["vmlinuz", "initrd"]);
});
afterAll(() => home.close());

const IMAGE = () => `
  - arch: x86_64
    kernel: { location: ${home.path("vmlinuz")} }
    initrd: { location: ${home.path("initrd")} }
`;
let number = 0;
let name = "";
beforeEach(() => {
  name = `vm${number++}`;
});
/** Starts an instance that cannot be started; what was said. */
const refused = async (yaml: string, environment?: Record<string, string>) => {
  const template = home.template(name, yaml);
  const outcome = await home.run([home.path("limanet"), "start", template], environment);
  expect(outcome.code).toBe(1);
  expect(await home.processes()).toEqual([]);
  return outcome.stderr;
};

test.each([
  ["an unknown key", "images: []\nmemroy: 1GiB\n", /vm\d+\.yaml:2:1: .*memroy.*\bmemory\b/],
  ["a wrong type", "images: []\ncpus: many\n", /vm\d+\.yaml:2:7: cpus: .*many/],
  [
    "a duplicate key",
    "images: []\ncpus: 1\ncpus: 2\n",
    /vm\d+\.yaml:3:1: the key cpus stands here a second time/,
  ],
  ["YAML that is none", "images: [\ncpus: 1\n", /vm\d+\.yaml:\d+:\d+: /],
  ["a wrong size", "images: []\nmemory: 1 elephant\n", /vm\d+\.yaml:2:9: memory: .*1 elephant/],
  [
    "a wrong port",
    "images: []\nssh: { localPort: 70000 }\n",
    /vm\d+\.yaml:2:19: ssh\.localPort: .*70000/,
  ],
])("%s is told with its place, and no instance is made", async (_what, yaml, sentence) => {
  expect(await refused(yaml)).toMatch(sentence);
  expect(existsSync(join(home.limanetHome, name))).toBe(false);
});

test("a network that does not exist is told with those that do", async () => {
  const said = await refused(`images: ${IMAGE()}\nnetworks: [{ lima: nowhere }]\n`);
  expect(said).toMatch(/network `nowhere` is not defined \(networks\.yaml has .*user-v2/);
  expect(existsSync(join(home.limanetHome, name))).toBe(false);
});

test.each([
  ["vmType: vz", "vmType vz needs macOS 13 or later (set vmType: qemu)"],
  ["vmType: krunkit", "vmType krunkit is not built yet (set vmType: qemu)"],
  ["networks: [{ vzNAT: true }]", "the network of lima0 is vzNAT, which needs vmType: vz on macOS"],
])("%s cannot be had here, and the instance is not kept", async (yaml, sentence) => {
  const said = await refused(`images: ${IMAGE()}\n${yaml}\n`);
  expect(said).toContain(`Cannot start the instance ${name}: ${sentence}`);
  expect(existsSync(join(home.limanetHome, name))).toBe(false);
});

test("a missing image is named, and the instance is not kept", async () => {
  const said = await refused("images: [{ arch: x86_64, location: /no/such/disk.qcow2 }]\n");
  expect(said).toContain("Cannot use the image /no/such/disk.qcow2: there is no such file");
  expect(existsSync(join(home.limanetHome, name))).toBe(false);
});

test("a wrong digest is told with both digests", async () => {
  const digest = `sha256:${"0".repeat(64)}`;
  const said = await refused(
    `images: [{ arch: x86_64, location: ${home.path("vmlinuz")}, digest: "${digest}" }]\n`,
  );
  expect(said).toContain(`not ${"0".repeat(64)}`);
  expect(existsSync(join(home.limanetHome, name))).toBe(false);
});

test("no image for this machine's architecture is told", async () => {
  const said = await refused(`images: [{ arch: aarch64, location: ${home.path("vmlinuz")} }]\n`);
  expect(said).toContain("lima.yaml has no image for x86_64");
});

test("without QEMU it is told what to install", async () => {
  const tools = home.path("tools");
  if (!existsSync(tools)) {
    await home.run(["mkdir", tools]);
    for (const tool of ["ssh", "ssh-keygen", "setpriv"])
      await home.run(["ln", "-s", Bun.which(tool)!, join(tools, tool)]);
  }
  const template = home.template(name, `images: ${IMAGE()}`);
  const { code, stderr } = await home.run([home.path("limanet"), "start", template], {
    PATH: tools,
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(/qemu-system-x86_64 is not installed \(.*apt install qemu-system-x86/);
});

test("an ssh port that is taken is told, and the machine is ended", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  const said = await refused(`images: ${IMAGE()}\nssh: { localPort: ${port} }\n`);
  expect(said).toMatch(new RegExp(`127\\.0\\.0\\.1:${port}.*in use`));
  server.close();
}, 60_000);

test("a port forward that is taken leaves the instance usable and says so", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  const template = home.template(
    name,
    `images: ${IMAGE()}\nmemory: 256MiB\nportForwards: [{ guestPort: 80, hostPort: ${port}, static: true }]\n`,
  );
  const { code, stderr } = await home.limanet("start", template);
  expect(stderr).toMatch(
    new RegExp(`warning: Cannot forward TCP 127\\.0\\.0\\.1:${port} .*in use`),
  );
  expect(code).toBe(0);
  await home.must("delete", "--force", name);
  server.close();
}, 60_000);

test.skipIf(process.getuid?.() !== 0)(
  "a full disk is told, and nothing is left running",
  async () => {
    const small = home.path("small");
    const asRoot = (...words: string[]) => Bun.spawnSync(words).exitCode;
    expect(asRoot("mkdir", small)).toBe(0);
    expect(asRoot("mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", small)).toBe(0);
    try {
      const template = home.template(name, `images: ${IMAGE()}`);
      const { code, stderr } = await home.run([home.path("limanet"), "start", template], {
        LIMANET_HOME: small,
      });
      expect(code).toBe(1);
      expect(stderr).toMatch(/^limanet: Cannot [^\n]*(no space left|the disk is full)/im);
      expect(await home.processes()).toEqual([]);
    } finally {
      asRoot("umount", small);
    }
  },
  60_000,
);

test.each([
  [
    "start",
    "an instance that does not exist",
    ["start", "nobody"],
    /nobody.*(there is no|does not exist)/,
  ],
  [
    "stop",
    "an instance that does not exist",
    ["stop", "nobody"],
    /nobody.*(there is no|does not exist)/,
  ],
  [
    "delete",
    "an instance that does not exist",
    ["delete", "nobody"],
    /nobody.*(there is no|does not exist)/,
  ],
  [
    "shell",
    "an instance that does not exist",
    ["shell", "nobody"],
    /nobody.*(there is no|does not exist)/,
  ],
  [
    "start",
    "a template that does not exist",
    ["start", "nowhere.yaml"],
    /nowhere\.yaml: there is no such file/,
  ],
  ["create", "a name that is none", ["create", "--name", "a/b", "x.yaml"], /./],
])("%s of %s fails with one sentence", async (_command, _what, words, sentence) => {
  const { code, stderr } = await home.limanet(...words);
  expect(code).toBe(1);
  expect(stderr).toMatch(sentence);
  expect(stderr).toMatch(/^limanet: Cannot [^\n]*\n$/);
});

test.each(["nonsense", "start --nonsense", "list --json --yaml", "usernet --mtu x"])(
  "limanet %s is wrong usage: exit code 2",
  async (line) => {
    expect((await home.limanet(...line.split(" "))).code).toBe(2);
  },
);

test("a name that makes socket paths too long is refused before anything is made", async () => {
  const long = "x".repeat(60);
  const { code, stderr } = await home.run(
    [home.path("limanet"), "create", "--name", long, home.template(name, `images: ${IMAGE()}`)],
    { LIMANET_HOME: join(home.folder, "a".repeat(40)) },
  );
  expect(code).toBe(1);
  expect(stderr).toMatch(/socket paths .*\(choose a shorter name/);
});

test("Ctrl-C before anything has begun is told, and leaves no instance", async () => {
  const child = home.spawn([
    ...[home.path("limanet"), "start", "--timeout", "30"],
    home.template(name, `images: ${IMAGE()}`),
  ]);
  // the signals that a process handles, as a mask (proc(5)); SIGINT is the second
  const handles = () => {
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    return (Number.parseInt(/^SigCgt:.*(.)$/m.exec(status)![1]!, 16) & 2) !== 0;
  };
  while (!handles()) await Bun.sleep(1);
  child.kill("SIGINT");
  expect(await child.exited).toBe(1);
  expect(await new Response(child.stderr).text()).toBe(
    `limanet: the start of ${name} was interrupted; nothing is left running\n`,
  );
  expect(existsSync(join(home.limanetHome, name))).toBe(false);
  expect(await home.processes()).toEqual([]);
}, 60_000);

describe("images by URL", () => {
  let requests = 0;
  const begun = Promise.withResolvers<void>();
  let server: ReturnType<typeof Bun.serve>;
  const content = new Uint8Array(3 << 20).fill(7);
  const digest = createHash("sha256").update(content).digest("hex");
  beforeAll(() => {
    server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch(request) {
        requests++;
        if (request.url.endsWith("/endless")) {
          begun.resolve();
          return new Response(new ReadableStream({ start: (body) => body.enqueue(content) }));
        }
        if (request.url.endsWith("/missing")) return new Response("gone", { status: 404 });
        return new Response(content);
      },
    });
  });
  afterAll(() => server.stop(true));

  const start = (path: string, sum: string) =>
    refused(
      `images: [{ arch: x86_64, location: "http://127.0.0.1:${server.port}/${path}", digest: "sha256:${sum}" }]\nvmType: qemu\ndisk: 1GiB\nmemory: 256MiB\n`,
    );

  test("a file that is not there is told with the server's answer", async () => {
    expect(await start("missing", digest)).toMatch(/Cannot download http:.*404/);
  });

  test("a download with the wrong digest is refused, and fetched anew the next time", async () => {
    expect(await start("disk", "1".repeat(64))).toContain(`its sha256 is ${digest}`);
    const before = requests;
    expect(existsSync(join(home.limanetHome, name))).toBe(false);
    expect(await start("disk", "1".repeat(64))).toContain(`its sha256 is ${digest}`);
    expect(requests).toBe(before + 1);
  });

  test("Ctrl-C ends a download at once and leaves no instance", async () => {
    const image = `{ arch: x86_64, location: "http://127.0.0.1:${server.port}/endless" }`;
    const child = home.spawn([
      home.path("limanet"),
      "start",
      home.template(name, `images: [${image}]\n`),
    ]);
    await begun.promise;
    child.kill("SIGINT");
    expect(await child.exited).toBe(1);
    expect(await new Response(child.stderr).text()).toContain("was interrupted");
    expect(existsSync(join(home.limanetHome, name))).toBe(false);
  });

  test("a right download is kept in the cache and fetched once", async () => {
    const template = (other: string) =>
      home.template(
        other,
        `images: [{ arch: x86_64, location: "http://127.0.0.1:${server.port}/good", digest: "sha256:${digest}" }]\nmemory: 256MiB\ndisk: 1GiB\n`,
      );
    const before = requests;
    for (const other of ["first", "second"]) {
      // the image is no operating system: the machine starts and waits for ever
      const child = home.spawn([home.path("limanet"), "start", "--timeout", "1", template(other)]);
      expect(await new Response(child.stderr).text()).toMatch(
        /the stage "(machine|address)" has not come within 1 s: /,
      );
      expect(await child.exited).toBe(1);
      expect(existsSync(join(home.limanetHome, other, "disk"))).toBe(true);
    }
    expect(requests).toBe(before + 1);
    expect(await home.processes()).toEqual([]);
  }, 60_000);
});

test("validate tells all that is wrong with a file at once, and OK for a right one", async () => {
  const wrong = home.template("wrong", "images: []\ncpus: many\nmemory: 1 elephant\nnonsense: 1\n");
  const { code, stderr } = await home.limanet("validate", wrong);
  expect(code).toBe(1);
  expect(stderr.match(/wrong\.yaml:\d+:\d+: /g)!.length).toBeGreaterThanOrEqual(3);
  const right = home.template("right", `images: ${IMAGE()}`);
  expect(await home.must("validate", right)).toBe(`${right}: OK\n`);
});

test.each([
  ["a folder", (path: string) => mkdirSync(path), "it is a folder"],
  [
    "what is not ours to read",
    (path: string) => writeFileSync(path, "", { mode: 0 }),
    "permission",
  ],
  ["an executable", (path: string) => copyFileSync("/bin/true", path), "this is not text"],
  ["nothing", () => {}, "there is no such file"],
])("%s is no lima.yaml: one sentence says so", async (_what, make, why) => {
  const path = home.path(`${name}.yaml`);
  make(path);
  for (const command of ["validate", "create"]) {
    const { code, stderr } = await home.limanet(command, path);
    expect(code).toBe(1);
    expect(stderr).toContain(why);
    expect(stderr.length).toBeLessThan(400);
  }
  expect(existsSync(join(home.limanetHome, name))).toBe(false);
});

test("edit keeps what is right and refuses what is wrong, leaving lima.yaml as it was", async () => {
  await home.must("create", "--name", name, home.template(name, `# mine\nimages: ${IMAGE()}`));
  const file = join(home.limanetHome, name, "lima.yaml");
  const editor = home.path("editor");
  const edit = async (text: string) => {
    writeFileSync(editor, `#!/bin/sh\ncat >>"$1" <<'X'\n${text}\nX\n`, { mode: 0o755 });
    return home.run([home.path("limanet"), "edit", name], { EDITOR: editor });
  };
  const before = readFileSync(file, "utf8");
  const wrong = await edit("cpus: many");
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).toContain("cpus");
  expect(readFileSync(file, "utf8")).toBe(before);
  await home.run(["rm", "-f", `${file}.draft`]);
  expect((await edit("cpus: 2")).code).toBe(0);
  expect(readFileSync(file, "utf8")).toContain("# mine");
  expect((await home.list()).find((listed) => listed.name === name)).toMatchObject({ cpus: 2 });
  await home.must("delete", name);
}, 60_000);

test("create applies its options to the template and keeps its comments", async () => {
  const template = home.template(name, `# keep me\nimages: ${IMAGE()}\ncpus: 4 # four\n`);
  await home.must(
    ...["create", "--name", name, "--cpus", "3", "--memory", "512MiB", "--ssh-port", "0"],
    ...["--network", "lima:user-v2", "--port-forward", "8080:80,static=true", template],
  );
  const text = readFileSync(join(home.limanetHome, name, "lima.yaml"), "utf8");
  expect(text).toContain("# keep me");
  expect(text).toMatch(/cpus: 3/);
  expect(text).toMatch(/lima: user-v2/);
  expect(text).toMatch(/guestPort: 80/);
  await home.must("delete", name);
  expect(readdirSync(home.limanetHome)).not.toContain(name);
});
