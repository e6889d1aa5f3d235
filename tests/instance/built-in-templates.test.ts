/** The templates that limanet brings along. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { BUILT_IN_TEMPLATES } from "../../lib/instance/built-in-templates.ts";
import { LimaHome } from "../support/lima-home.ts";

let home: LimaHome;
let guest: Record<string, string>;
beforeAll(() => {
  home = new LimaHome({ "guest/vmlinuz": "", "guest/initrd": "" });
  guest = { LIMANET_GUEST: home.path("guest"), LIMA_TEMPLATES_PATH: home.path("templates") };
});
afterAll(() => home.close());

test.each([...BUILT_IN_TEMPLATES.keys()])("template:%s is right", (name) => {
  expect(home.run(["validate", `template:${name}`], guest)).toEqual({
    code: 0,
    out: `template:${name}: OK\n`,
    error: "",
  });
});

test.each([...BUILT_IN_TEMPLATES].filter(([name]) => name !== "demo"))(
  "template:%s names images of both architectures by https, and no digest but whole ones",
  (_, text) => {
    const images = text()
      .split("\n")
      .filter((line) => line.startsWith("- location:"));
    expect(images).toHaveLength(2);
    for (const line of images) expect(line).toMatch(/^- location: https:\/\/\S+\.(qcow2|img)$/);
    expect([...text().matchAll(/^ {2}arch: (.*)$/gm)].map(([, arch]) => arch)).toEqual([
      "x86_64",
      "aarch64",
    ]);
  },
);

test("an instance of template:demo has the guest of this machine", () => {
  expect(home.run(["create", "--name", "vm", "template:demo"], guest).code).toBe(0);
  expect(home.read("vm/lima.yaml")).toContain(`location: "${home.path("guest/vmlinuz")}"`);
});

test("without the guest the sentence says what to do", () => {
  const { code, error } = home.run(["create", "template:demo"], { LIMANET_GUEST: "/nowhere" });
  expect(code).toBe(1);
  expect(error).toStartWith(
    "limanet: Cannot use template:demo: its guest is not on this machine (",
  );
});

test("a template of the user's comes before one of limanet's with the same name", () => {
  home.write("templates/debian.yaml", "images: 7\n");
  const { code, error } = home.run(["validate", "template:debian"], guest);
  expect(code).toBe(1);
  expect(error).toContain("templates/debian.yaml:1:9: images");
});

test("a name that nobody knows is told with those that are there", () => {
  const { error } = home.run(["validate", "template:nope"], guest);
  expect(error).toContain(
    "nor one of limanet's own: default, debian, ubuntu, fedora, alpine, demo",
  );
});

test("limanet start by itself makes the instance default of template:default, and says so", () => {
  // one that cannot be fetched, so that nothing is
  home.write("templates/default.yaml", "images: [{ location: /nowhere }]\n");
  const { code, error } = home.run(["start"], guest);
  expect(code).toBe(1);
  expect(error).toStartWith(
    "There is no instance named default yet: it is made of template:default",
  );
  expect(error).toContain("Cannot use the image /nowhere");
  expect(home.run(["list", "--quiet"], guest).out).toBe("vm\n");
});
