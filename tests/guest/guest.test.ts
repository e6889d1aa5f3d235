/** What a guest is told: cloud-init documents, boot script, environment, and the image they are on. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { cidataFiles, type GuestFacts } from "../../lib/guest/cidata.ts";
import { buildIso } from "../../lib/guest/iso9660.ts";

const FACTS: GuestFacts = {
  name: "vm",
  hostname: "lima-vm",
  instanceId: "iid-1",
  user: { name: "me", uid: 501, home: "/home/me.linux", shell: "/bin/bash" },
  sshKeys: ["ssh-ed25519 AAAA lima", "ssh-rsa BBBB me"],
  netplanOptional: false,
  nics: [
    { mac: "52:55:55:00:00:01", name: "eth0", metric: 200 },
    { mac: "52:55:55:00:00:02", name: "lima1", metric: 100 },
  ],
  dns: [],
  gateway: "192.168.5.2",
  dnsAddress: "192.168.5.3",
  address: "192.168.5.15",
  dnsPorts: { udp: 0, tcp: 0 },
  environment: { A: "it's one", B: "two words" },
  provision: [
    { mode: "system", script: "#!/bin/sh\ntrue\n" },
    { mode: "user", script: "#!/bin/sh\nfalse\n" },
  ],
  vmType: "qemu",
  plain: false,
};
const text = (facts: Partial<GuestFacts>, name: string) => {
  const file = cidataFiles({ ...FACTS, ...facts }).find((candidate) => candidate.name === name);
  return new TextDecoder().decode(file?.content);
};

describe("cidataFiles()", () => {
  test("user-data makes the user with its keys, and runs the boot scripts", () => {
    const document = text({}, "user-data");
    expect(document).toStartWith("#cloud-config\n");
    const data = parse(document) as {
      users: Record<string, unknown>[];
      write_files: { path: string }[];
      runcmd: string[][];
    };
    expect(data.users).toEqual([
      {
        name: "me",
        uid: 501,
        homedir: "/home/me.linux",
        shell: "/bin/bash",
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        lock_passwd: true,
        ssh_authorized_keys: [...FACTS.sshKeys],
      },
    ]);
    expect(data.write_files[0]!.path).toBe("/var/lib/cloud/scripts/per-boot/00-limanet.sh");
    expect(data.runcmd).toEqual([["sh", data.write_files[0]!.path]]);
  });

  test("user-data has the name servers only when there are some, and repairs network cards early", () => {
    const data = (facts: Partial<GuestFacts>) =>
      parse(text(facts, "user-data")) as Record<string, unknown> & { bootcmd?: string[][] };
    expect(data({ dns: ["192.168.5.3"] })).toMatchObject({
      manage_resolv_conf: true,
      resolv_conf: { nameservers: ["192.168.5.3"] },
    });
    expect(data({})["manage_resolv_conf"]).toBeUndefined();
    expect(data({}).bootcmd![0]!.slice(0, 2)).toEqual(["sh", "-c"]);
    expect(data({}).bootcmd![0]![2]).toContain("52:55:55:00:00:02=lima1");
    expect(data({ plain: true }).bootcmd).toBeUndefined();
  });

  test("lima.env has what specification 11.1 lists", () => {
    const facts: Partial<GuestFacts> = { dnsPorts: { udp: 5301, tcp: 5302 }, vmType: "vz" };
    expect(text(facts, "lima.env").split("\n").slice(0, -1).toSorted()).toEqual([
      "LIMA_CIDATA_HOME='/home/me.linux'",
      "LIMA_CIDATA_HOSTNAME='lima-vm'",
      "LIMA_CIDATA_IID='iid-1'",
      "LIMA_CIDATA_NAME='vm'",
      "LIMA_CIDATA_NIC_0='52:55:55:00:00:01 eth0 200'",
      "LIMA_CIDATA_NIC_1='52:55:55:00:00:02 lima1 100'",
      "LIMA_CIDATA_PLAIN='0'",
      "LIMA_CIDATA_SHELL='/bin/bash'",
      "LIMA_CIDATA_SLIRP_DNS='192.168.5.3'",
      "LIMA_CIDATA_SLIRP_GATEWAY='192.168.5.2'",
      "LIMA_CIDATA_SLIRP_IP_ADDRESS='192.168.5.15'",
      "LIMA_CIDATA_TCP_DNS_LOCAL_PORT='5302'",
      "LIMA_CIDATA_UDP_DNS_LOCAL_PORT='5301'",
      "LIMA_CIDATA_UID='501'",
      "LIMA_CIDATA_USER='me'",
      "LIMA_CIDATA_VIRTIO_PORT=''",
      "LIMA_CIDATA_VMTYPE='vz'",
      "LIMA_CIDATA_VSOCK_PORT='0'",
    ]);
  });

  test("meta-data has the instance id and the host name", () => {
    expect(parse(text({}, "meta-data"))).toEqual({
      "instance-id": "iid-1",
      "local-hostname": "lima-vm",
    });
  });

  test("network-config finds each card by its address and gives it name and metric", () => {
    expect(parse(text({ dns: ["1.1.1.1"] }, "network-config"))).toEqual({
      version: 2,
      ethernets: {
        eth0: {
          match: { macaddress: "52:55:55:00:00:01" },
          dhcp4: true,
          "set-name": "eth0",
          "dhcp4-overrides": { "route-metric": 200 },
          "dhcp-identifier": "mac",
          nameservers: { addresses: ["1.1.1.1"] },
        },
        lima1: {
          match: { macaddress: "52:55:55:00:00:02" },
          dhcp4: true,
          "set-name": "lima1",
          "dhcp4-overrides": { "route-metric": 100 },
          "dhcp-identifier": "mac",
        },
      },
    });
  });

  test("network-config makes the cards optional when the template asks for it", () => {
    type Cards = { ethernets: Record<string, { optional?: boolean }> };
    const optional = (netplanOptional: boolean) => {
      const config = parse(text({ netplanOptional }, "network-config")) as Cards;
      return Object.values(config.ethernets).map((card) => card.optional);
    };
    expect(optional(true)).toEqual([true, true]);
    expect(optional(false)).toEqual([undefined, undefined]);
  });

  test("lima.env can be read by a shell, whatever stands in it", () => {
    const user = { ...FACTS.user, home: "/home/o'neill $(touch /tmp/x)" };
    const shell = Bun.spawnSync([
      "sh",
      "-c",
      `${text({ user }, "lima.env")}printf %s "$LIMA_CIDATA_HOME|$LIMA_CIDATA_NIC_1"`,
    ]);
    expect(shell.stdout.toString()).toBe(
      "/home/o'neill $(touch /tmp/x)|52:55:55:00:00:02 lima1 100",
    );
  });

  test("boot.sh is a shell script, and provision scripts stand beside it in order; plain instances have none", () => {
    expect(Bun.spawnSync(["sh", "-n", "-c", text({}, "boot.sh")]).exitCode).toBe(0);
    const names = (facts: Partial<GuestFacts>) =>
      cidataFiles({ ...FACTS, ...facts })
        .map(({ name }) => name)
        .filter((name) => name.startsWith("provision"));
    expect(names({})).toEqual(["provision-0000-system.sh", "provision-0001-user.sh"]);
    expect(names({ plain: true })).toEqual([]);
  });
});

describe("buildIso()", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "limanet-iso-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const FILES = [0, 1, 2047, 2048, 2049, 70_000].map((size, i) => ({
    name: `file-with-a-long-name-${i}.${size}.sh`,
    mode: i % 2 === 0 ? 0o644 : 0o755,
    content: Uint8Array.from({ length: size }, (_, at) => (at * 7 + i) & 255),
  }));

  test("an image is read back by bsdtar with names, modes and contents", () => {
    const image = join(folder, "x.iso");
    writeFileSync(image, buildIso("cidata", FILES, 0));
    const out = Bun.spawnSync(["bsdtar", "-x", "-p", "-f", image, "-C", folder]);
    expect(out.stderr.toString()).toBe("");
    for (const { name, mode, content } of FILES) {
      expect(Buffer.compare(readFileSync(join(folder, name)), content)).toBe(0);
      expect(statSync(join(folder, name)).mode & 0o777).toBe(mode);
    }
  });

  test("isoinfo finds the label by which cloud-init looks for it, and Rock Ridge", () => {
    const image = join(folder, "y.iso");
    writeFileSync(image, buildIso("cidata", FILES, 0));
    const told = Bun.spawnSync(["isoinfo", "-d", "-i", image]).stdout.toString();
    expect(told).toMatch(/^Volume id: cidata$/m);
    expect(told).toContain("Rock Ridge signatures");
    const listed = Bun.spawnSync(["isoinfo", "-R", "-l", "-i", image]).stdout.toString();
    for (const { name, content } of FILES)
      expect(listed).toMatch(new RegExp(` ${content.length} .* ${name.replaceAll(".", "\\.")}`));
  });

  test("many files need more than one sector of the folder", () => {
    const many = Array.from({ length: 120 }, (_, i) => ({
      name: `provision-${String(i).padStart(4, "0")}-system.sh`,
      mode: 0o755,
      content: new TextEncoder().encode(`echo ${i}\n`),
    }));
    const image = join(folder, "many.iso");
    writeFileSync(image, buildIso("cidata", many, 0));
    const listed = Bun.spawnSync(["bsdtar", "-t", "-f", image])
      .stdout.toString()
      .trim()
      .split("\n");
    expect(listed.filter((name) => name.startsWith("provision")).toSorted()).toEqual(
      many.map(({ name }) => name),
    );
  });

  test("the same files and time give the same octets", () => {
    expect(Buffer.compare(buildIso("cidata", FILES, 1e12), buildIso("cidata", FILES, 1e12))).toBe(
      0,
    );
  });
});
