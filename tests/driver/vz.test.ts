import { describe, expect, test } from "bun:test";
import { vzAttachmentText, vzConfiguration, vzEvent, type VzFacts } from "../../lib/driver/vz.ts";

const FACTS: VzFacts = {
  cpus: 3,
  memory: 1024 ** 3 + 1,
  kernel: undefined,
  initrd: undefined,
  cmdline: undefined,
  efiVariables: "/i/vz-efi",
  machineIdentifier: "/i/vz-identifier",
  disk: "/i/disk",
  cidata: "/i/cidata.iso",
  serial: 9,
  nics: [{ mac: "52:55:55:00:00:01", mtu: 1500, attachment: 7 }],
};
const REST = "disk.1=/i/cidata.iso\ndisk.1.readonly=1\nserial=9\n";

describe("vzConfiguration()", () => {
  test("boots a disk by EFI", () => {
    expect(vzConfiguration(FACTS)).toBe(
      `cpus=3\nmemory=1025\nefi=/i/vz-efi\nmachine_id=/i/vz-identifier\ndisk.0=/i/disk\n${REST}nic.0=fd:7\nnic.0.mac=52:55:55:00:00:01\n`,
    );
  });

  test.each<[string, Partial<VzFacts>, string[], string[]]>([
    [
      "a kernel with what it says of its root",
      { kernel: "/k" },
      ["kernel=/k", "cmdline=root=/dev/vda console=hvc0"],
      ["efi", "initrd"],
    ],
    [
      "a kernel with its own words and an initial disk",
      { kernel: "/k", initrd: "/r", cmdline: "quiet" },
      ["kernel=/k", "initrd=/r", "cmdline=quiet"],
      ["efi"],
    ],
    [
      "no disk: cidata comes first",
      { kernel: "/k", disk: undefined },
      ["disk.0=/i/cidata.iso", "disk.0.readonly=1", "cmdline=console=hvc0"],
      ["disk.1"],
    ],
    ["no cards", { nics: [] }, ["serial=9"], ["nic.0"]],
    [
      "macOS' own network, and one with large packets",
      {
        nics: [
          { mac: "m0", mtu: 1500, attachment: "nat" },
          { mac: "m1", mtu: 9000, attachment: 8 },
        ],
      },
      ["nic.0=nat", "nic.0.mac=m0", "nic.1=fd:8", "nic.1.mtu=9000", "nic.1.mac=m1"],
      ["nic.0.mtu"],
    ],
  ])("with %s", (_, facts, there, absent) => {
    const lines = vzConfiguration({ ...FACTS, ...facts }).split("\n");
    for (const line of there) expect(lines).toContain(line);
    for (const key of absent)
      expect(lines.filter((line) => line.startsWith(`${key}=`))).toEqual([]);
  });

  test("refuses a path that would be two settings", () => {
    expect(() => vzConfiguration({ ...FACTS, disk: "/a\nefi=/b" })).toThrow("line break");
  });
});

test("vzAttachmentText() is one card's attachment", () => {
  expect(vzAttachmentText({ attachment: "nat", mtu: 9000 })).toBe("nic=nat\n");
  expect(vzAttachmentText({ attachment: 5, mtu: 9000 })).toBe("nic=fd:5\nmtu=9000\n");
  expect(vzAttachmentText({ attachment: 5, mtu: 1500 })).toBe("nic=fd:5\n");
});

test.each([
  [{ event: "started" }, { tag: "started" }],
  [{ event: "stopped" }, { tag: "stopped" }],
  [
    { event: "start-failed", error: "no" },
    { tag: "start-failed", why: "no" },
  ],
  [
    { event: "stop-failed", error: "no" },
    { tag: "stop-failed", why: "no" },
  ],
  [{ event: "failed" }, { tag: "failed", why: "no reason is given" }],
  [
    { event: "nic-lost", nic: "2", error: "e" },
    { tag: "nic-lost", nic: 2, why: "e" },
  ],
  [
    { event: "vsock", ticket: "4", fd: "0" },
    { tag: "vsock", ticket: 4, fd: 0 },
  ],
  [
    { event: "vsock", ticket: "4", error: "e" },
    { tag: "vsock-failed", ticket: 4, why: "e" },
  ],
  [{ event: "of-tomorrow" }, undefined],
  [{}, undefined],
])("vzEvent(%j) is %j", (facts, event) => {
  expect(vzEvent(new Map(Object.entries(facts)))).toEqual(event as never);
});
