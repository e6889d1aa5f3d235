/** An instance that Lima has made, taken over and run, and its networks as Lima would have them. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { Home } from "../support/machines.ts";

const LIMIT = 90_000;
const NAME = "older";
let home: Home;
beforeAll(async () => {
  home = new Home(".cache/guest", ["vmlinuz", "initrd"]);
  const dir = join(home.limanetHome, NAME);
  // Lima's image is long gone; its disk is what the machine has
  const text = `# made by Lima
images:
- location: "https://images.example.test/gone.img"
  kernel: {location: ${home.path("vmlinuz")}, cmdline: console=ttyS0 quiet}
  initrd: {location: ${home.path("initrd")}}
cpus: 1
memory: 256MiB
networks:
- lima: user-v2
- lima: user-v2
  interface: data0
  metric: 50
`;
  const template = home.template("lima", text);
  const commands = [
    ["mkdir", "-p", dir],
    ["cp", template, join(dir, "lima.yaml")],
    ["sh", "-c", `printf 2.0.1 >${dir}/lima-version`],
    ["qemu-img", "create", "-q", "-f", "qcow2", join(dir, "diffdisk"), "64M"],
  ];
  for (const command of commands) expect((await home.run(command)).code).toBe(0);
});
afterAll(() => home.close(), LIMIT);

const file = (name: string) => join(home.limanetHome, NAME, name);
/** specification, section 12 */
const mac = (id: string) => {
  const idFile = ["/etc/machine-id", "/var/lib/dbus/machine-id"].find(existsSync);
  const machine = idFile === undefined ? hostname() : readFileSync(idFile, "utf8").trim();
  const digest = createHash("sha256")
    .update(machine + id)
    .digest("hex");
  return `52:55:55:${digest.slice(0, 6).replaceAll(/(..)(?=.)/g, "$1:")}`;
};

test("it is not started unless --adopt is said", async () => {
  const { code, stderr } = await home.limanet("start", NAME);
  expect(code).toBe(1);
  expect(stderr).toMatch(/it belongs to Lima, not to limanet \(--adopt takes it over/);
  expect(existsSync(file("limanet-version"))).toBe(false);
});

test(
  "start --adopt boots it with Lima's disk, and its cards are where Lima has them",
  async () => {
    await home.must("start", "--adopt", NAME);
    const cards = await home.must(
      ...[
        "shell",
        NAME,
        "sh",
        "-c",
        "cat /sys/class/net/eth0/address /sys/class/net/data0/address",
      ],
    );
    expect(cards.trim().split("\n")).toEqual([
      mac(join(home.limanetHome, NAME)),
      mac(`${file("lima.yaml")}#1`),
    ]);
    // 64 MiB in sectors of 512 octets
    expect(await home.must("shell", NAME, "cat", "/sys/block/vda/size")).toBe("131072\n");
    const view = JSON.parse(await home.must("network", "show", "--json", "user-v2")) as {
      members: { name: string; cards: { interface: string; mac: string; address?: string }[] }[];
    };
    expect(view.members[0]!.cards).toMatchObject([
      { interface: "eth0", mac: mac(join(home.limanetHome, NAME)), address: "192.168.104.1" },
      { interface: "data0", mac: mac(`${file("lima.yaml")}#1`) },
    ]);
    expect((await home.limanet("edit", NAME, "--cpus=2")).stderr).toMatch(/it runs/);
    await home.must("stop", NAME);
    expect(readFileSync(file("lima-version"), "utf8")).toBe("2.0.1");
    expect(readFileSync(file("lima.yaml"), "utf8")).toStartWith("# made by Lima\n");
    expect(await home.processes()).toEqual([]);
  },
  LIMIT,
);
