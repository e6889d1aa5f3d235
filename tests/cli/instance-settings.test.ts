/** Making instances, changing their lima.yaml by options, taking over those of Lima: all that needs no virtual machine. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { parse } from "yaml";
import { LimaHome } from "../support/lima-home.ts";

const IMAGE = "images:\n- location: disk.qcow2 # mine\n";
let home: LimaHome;
beforeEach(() => {
  home = new LimaHome({});
});
afterEach(() => home.close());

const create = (...words: string[]) => home.run(["create", "--name", "vm", ...words]);
const settings = () => parse(home.read("vm/lima.yaml")) as Record<string, unknown>;

describe("create", () => {
  test("puts together what base names, nested and relative, in the order of 3.2", () => {
    home.write(
      "t/vm.yaml",
      `# top\nbase: [bases/a.yaml, ../b.yaml]\n${IMAGE}cpus: 1\nenv: {A: top}\n`,
    );
    home.write(
      "t/bases/a.yaml",
      "base: deep.yaml\nenv: {A: a, B: a}\nnetworks: [{interface: x, lima: user-v2}]\n",
    );
    home.write(
      "t/bases/deep.yaml",
      "memory: 3GiB # deep\nenv: {B: deep, C: deep}\nimages: [{location: deep.img}]\n",
    );
    home.write("b.yaml", "cpus: 9\nmemory: 9GiB\nnetworks: [{interface: '*', metric: 7}]\n");
    home.write("_config/base.yaml", "env: {C: common}\nplain: true\n");
    expect(create("t/vm.yaml")).toEqual({ code: 0, out: "vm\n", error: "" });
    expect(settings()).toEqual({
      images: [
        { location: home.path("t/disk.qcow2") },
        { location: home.path("t/bases/deep.img") },
      ],
      cpus: 1,
      memory: "3GiB",
      env: { A: "top", B: "a", C: "common" },
      networks: [{ interface: "x", lima: "user-v2", metric: 7 }],
      plain: true,
    });
    for (const comment of ["# top", "# mine", "# deep"])
      expect(home.read("vm/lima.yaml")).toContain(comment);
  });

  test("finds template:NAME in _templates, and in LIMA_TEMPLATES_PATH", () => {
    home.write("_templates/a/b.yaml", `${IMAGE}cpus: 5\n`);
    home.write("other/c.yaml", "base: template:d\n");
    home.write("other/d.yaml", `${IMAGE}cpus: 6\n`);
    expect(home.run(["create", "template:a/b"]).out).toBe("b\n");
    const elsewhere = { LIMA_TEMPLATES_PATH: home.path("other") };
    expect(home.run(["create", "--name=vm", "template://c"], elsewhere).code).toBe(0);
    expect(settings()["cpus"]).toBe(6);
    expect(create("file://HOME".replace("HOME", home.path("other/d.yaml"))).error).toContain(
      "there already",
    );
  });

  test("fetches templates and their bases by URL, once", async () => {
    let requests = 0;
    const files: Record<string, string> = {
      "/t/vm.yaml": `base: [sub/base.yaml]\n${IMAGE}`,
      "/t/sub/base.yaml": "cpus: 7\n",
    };
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: ({ url }) => {
        requests++;
        const text = files[new URL(url).pathname];
        return new Response(text, { status: text === undefined ? 404 : 200 });
      },
    });
    const from = `http://127.0.0.1:${server.port}/t`;
    const run = (...words: string[]) => {
      const env = { ...process.env, LIMANET_HOME: home.folder, XDG_CACHE_HOME: home.path("cache") };
      const main = new URL("../../main.ts", import.meta.url).pathname;
      return Bun.spawn([process.execPath, main, "create", ...words], {
        env,
        stdout: "pipe",
        stderr: "pipe",
      });
    };
    for (const name of ["vm", "again"])
      expect(await run("--name", name, `${from}/vm.yaml`).exited).toBe(0);
    expect(settings()).toEqual({ images: [{ location: `${from}/disk.qcow2` }], cpus: 7 });
    expect(requests).toBe(2);
    const missing = run("--name", "x", `${from}/nothing.yaml`);
    expect(await new Response(missing.stderr).text()).toMatch(/^limanet: Cannot download .*404/);
    await server.stop(true);
  });

  test("takes in scripts that have a file of their own", () => {
    home.write("t/vm.yaml", `base: b/base.yaml\n${IMAGE}provision:\n- {mode: user, file: me.sh}\n`);
    home.write("t/me.sh", "#!/bin/sh\nid\n");
    home.write(
      "t/b/base.yaml",
      "provision: [{mode: system, file: {url: deep.sh}}, {mode: data, file: x}]\n",
    );
    home.write("t/b/deep.sh", "#!/bin/sh\ntrue\n");
    expect(create("t/vm.yaml").code).toBe(0);
    expect(settings()["provision"]).toEqual([
      { mode: "system", script: "#!/bin/sh\ntrue\n" },
      { mode: "data", file: "x" },
      { mode: "user", script: "#!/bin/sh\nid\n" },
    ]);
  });

  test("one base by two ways is taken once", () => {
    home.write("vm.yaml", `base: [a.yaml, b.yaml]\n${IMAGE}`);
    home.write("a.yaml", "base: c.yaml\n");
    home.write("b.yaml", "base: c.yaml\n");
    home.write("c.yaml", "networks: [{lima: user-v2}]\n");
    expect(create("vm.yaml").code).toBe(0);
    expect(settings()["networks"]).toEqual([{ lima: "user-v2" }]);
  });

  test.each([
    [{ "vm.yaml": "base: vm.yaml\n" }, /builds on itself/],
    [
      { "vm.yaml": "base: a.yaml\n", "a.yaml": "base: b.yaml\n", "b.yaml": "base: a.yaml\n" },
      /a\.yaml builds on itself \(.*vm\.yaml -> .*a\.yaml -> .*b\.yaml -> .*a\.yaml\)/,
    ],
    [{ "vm.yaml": "base: nowhere.yaml\n" }, /nowhere\.yaml: there is no such file/],
    [{ "vm.yaml": "base: [3]\n" }, /vm\.yaml: `base` takes locations/],
    [{ "vm.yaml": "base: a.yaml\n", "a.yaml": "{" }, /Cannot use the template HOME\/a\.yaml: /],
    [
      { "vm.yaml": "base: template:nope\n" },
      /Cannot find template:nope: it is in none of HOME\/_templates/,
    ],
    [
      { "vm.yaml": "base: template:vmnet\n" },
      /Lima 1\.0 has removed it \(use limanet start --network lima:shared\)/,
    ],
    [{ "vm.yaml": "base: template:experimental/net-user-v2\n" }, /--network lima:user-v2/],
    [
      { "vm.yaml": "provision: [{file: gone.sh}]\n" },
      /Cannot read the script HOME\/gone\.sh: there is no such file/,
    ],
    [{}, /Cannot read the template vm\.yaml: there is no such file/],
  ] as [Record<string, string>, RegExp][])(
    "of %j is refused, and nothing is made",
    (files, why) => {
      for (const [name, text] of Object.entries(files)) home.write(name, text);
      const { code, error } = create("vm.yaml");
      expect(error).toMatch(why);
      expect(error).toMatch(/^limanet: Cannot [^\n]*\n$/);
      expect(code).toBe(1);
      expect(existsSync(home.path("vm"))).toBe(false);
    },
  );

  test("tells what is wrong where it stands, in the template or in its base", () => {
    home.write("vm.yaml", `# one\n# two\nbase: a.yaml\n${IMAGE}memory: big\n`);
    home.write("a.yaml", "# three\ncpus: many\n");
    const { code, error } = create("--network=lima:gone", "vm.yaml");
    const lines = error.split("\n").map((line) => line.replace(/: [^:]*$/, ""));
    expect(lines).toContain("HOME/vm.yaml:6:9: memory");
    expect(lines).toContain("HOME/a.yaml:2:7: cpus");
    expect(error).toContain("network `gone` is not defined");
    expect(code).toBe(1);
    // and so does validate
    expect(home.run(["validate", "vm.yaml"]).error).toMatch(
      /^HOME\/vm\.yaml:6:9: .*\nHOME\/a\.yaml:2:7: /m,
    );
  });

  test("an instance on a network of root's is made although it needs one more thing to start", () => {
    home.write("vm.yaml", IMAGE);
    expect(create("--network=lima:shared,vzNAT", "vm.yaml").code).toBe(0);
    expect(settings()["networks"]).toEqual([{ lima: "shared" }, { vzNAT: true }]);
  });
});

test("base in an instance's lima.yaml is an error with its place", () => {
  home.write("vm/lima.yaml", `${IMAGE}base: x.yaml\n`);
  expect(home.run(["validate", "vm/lima.yaml"])).toMatchObject({
    code: 1,
    error: expect.stringMatching(/^vm\/lima\.yaml:3:7: base: must be empty: /),
  });
});

describe("edit and start with options", () => {
  const TEXT = `# mine\n${IMAGE.replace("disk.qcow2", "/no/disk")}cpus: 4 # four\n`;
  beforeEach(() => {
    home.write("vm.yaml", TEXT);
    expect(create("vm.yaml").code).toBe(0);
  });
  const EDITOR = { EDITOR: "sh -c 'exit 9'" };

  test("edit changes lima.yaml without the editor, and keeps comments", () => {
    const words = [
      "edit",
      "vm",
      "--cpus=2",
      "--network=lima:user-v2",
      "--dns=1.1.1.1",
      "--set",
      ".ssh.localPort = 60099",
    ];
    const { code, error } = home.run(words, EDITOR);
    expect(error).toBe(
      "warning: the host resolver is disabled, as --dns 1.1.1.1 takes its place\n",
    );
    expect(code).toBe(0);
    expect(home.read("vm/lima.yaml")).toBe(
      `${TEXT.replace("cpus: 4", "cpus: 2")}dns:\n- 1.1.1.1\nhostResolver:\n  enabled: false\nnetworks:\n- lima: user-v2\nssh:\n  localPort: 60099\n`,
    );
    expect(home.run(["edit", "vm"], EDITOR).error).toMatch(/the editor ended with 9/);
  });

  test("start changes lima.yaml before it starts", () => {
    const { code, error } = home.run(["start", "vm", "--set", ".env.A = 1 | del(.cpus)"]);
    expect(error).toContain("/no/disk: there is no such file");
    expect(code).toBe(1);
    expect(home.read("vm/lima.yaml")).toBe(`${TEXT.replace("cpus: 4 # four\n", "")}env:\n  A: 1\n`);
  });

  test.each([
    [["edit", "vm", "--set", ".cpus = 0"], /lima\.yaml:4:7: cpus: /],
    [["edit", "vm", "--set", '.networks += [{"lima": "gone"}]'], /network `gone` is not defined/],
    [["edit", "vm", "--cpus=1", "--set", "nonsense"], /Cannot apply --set nonsense/],
    [
      ["start", "vm", "--cpus=1", "--network", "shared"],
      /network name must be `vzNAT` or `lima:\*`, got `shared`/,
    ],
    [["start", "vm", "--cpus=1", "--port-forward", "80"], /not of the form HOST:GUEST/],
  ])("%j is refused, and lima.yaml stays as it was", (words, why) => {
    const before = home.read("vm/lima.yaml");
    const { code, error } = home.run(words);
    expect(error).toMatch(why);
    expect(code).toBe(1);
    expect(home.read("vm/lima.yaml")).toBe(before);
  });

  test("edit takes no --port-forward, as with Lima", () => {
    expect(home.run(["edit", "vm", "--port-forward=1:2"]).code).toBe(2);
  });
});

describe("an instance that Lima has made", () => {
  const TEXT = `# by Lima\n${IMAGE.replace("disk.qcow2", "/no/disk")}`;
  let server: Server | undefined;
  beforeEach(() => {
    home.write("vm/lima.yaml", TEXT);
    home.write("vm/lima-version", "1.2.3");
  });
  afterEach(() => server?.close());

  test.each([
    [["start", "vm"], /Cannot start the instance vm: it belongs to Lima, not to limanet \(--adopt/],
    [["start", "vm", "--cpus=2"], /it belongs to Lima/],
    [["edit", "vm", "--cpus=2"], /Cannot edit the instance vm: it belongs to Lima/],
    [["stop", "vm"], /it belongs to Lima \(limactl stop vm\)/],
    [["delete", "--force", "vm"], /it belongs to Lima/],
  ])("%j is refused without --adopt, and changes nothing", (words, why) => {
    const { code, error } = home.run(words);
    expect(error).toMatch(why);
    expect(code).toBe(1);
    expect(home.read("vm/lima.yaml")).toBe(TEXT);
    expect(existsSync(home.path("vm/limanet-version"))).toBe(false);
  });

  test("edit --adopt takes it over and leaves what Lima knows it by", () => {
    expect(home.run(["edit", "vm", "--adopt", "--cpus=2"])).toEqual({
      code: 0,
      out: "",
      error: "",
    });
    expect(home.read("vm/lima.yaml")).toBe(`${TEXT}cpus: 2\n`);
    expect(home.read("vm/lima-version")).toBe("1.2.3");
    expect(home.read("vm/limanet-version")).toMatch(/^limanet \d/);
    // from now on it is ours
    expect(home.run(["edit", "vm", "--cpus=3"]).code).toBe(0);
    expect(home.run(["delete", "vm"]).code).toBe(0);
    expect(existsSync(home.path("vm"))).toBe(false);
  });

  test("start --adopt uses Lima's disk and needs no image any more", () => {
    home.write("vm/diffdisk", "raw");
    const { error } = home.run(["start", "--adopt", "--timeout=1", "vm"], { PATH: "/nonexistent" });
    expect(error).not.toContain("/no/disk");
    expect(existsSync(home.path("vm/limanet-version"))).toBe(true);
    expect(existsSync(home.path("vm/disk"))).toBe(false);
  });

  test("--adopt is refused while a host agent of Lima's runs", () => {
    home.write("vm/ha.pid", `${process.pid}\n`);
    for (const command of ["start", "edit"]) {
      const { code, error } = home.run([command, "vm", "--adopt", "--cpus=2"]);
      expect(error).toMatch(
        /Cannot (start|edit) the instance vm: Lima runs it \(limactl stop vm\)/,
      );
      expect(code).toBe(1);
    }
    expect(existsSync(home.path("vm/limanet-version"))).toBe(false);
  });

  test("one that was taken over is left alone while Lima's host agent serves it again", async () => {
    expect(home.run(["edit", "vm", "--adopt", "--cpus=2"]).code).toBe(0);
    server = createServer().listen(home.path("vm/ha.sock"));
    await new Promise((resolve) => server!.once("listening", resolve));
    for (const words of [
      ["edit", "vm", "--cpus=3"],
      ["start", "vm"],
      ["stop", "vm"],
      ["delete", "-f", "vm"],
    ]) {
      const { code, error } = home.run(words);
      expect(error).toMatch(/Cannot [a-z]+ the instance vm: Lima runs it \(limactl stop vm\)/);
      expect(code).toBe(1);
    }
    expect(existsSync(home.path("vm/lima.yaml"))).toBe(true);
  });
});
