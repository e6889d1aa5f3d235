/** The flowchart: each way through it, on both systems. */
import { describe, expect, test } from "bun:test";
import { parse } from "yaml";
import { parseInstance } from "../../lib/config/instance.ts";
import { chooseNetwork, REACHED_FROM } from "../../lib/config/network-choice.ts";

describe("chooseNetwork()", () => {
  test.each([
    ["localhost", "qemu", "default"],
    ["localhost", "vz", "default"],
    ["vms", "qemu", "user-v2"],
    ["vms", "vz", "user-v2"],
    ["host", "qemu", "shared"],
    ["host", "vz", "vzNAT"],
    ["lan", "qemu", "bridged"],
    ["lan", "vz", "bridged"],
  ] as const)(
    "from %s with %s is %s, with a flag and YAML that say the same",
    (from, vmType, name) => {
      for (const system of ["darwin", "linux"] as const) {
        const { network, flag, yaml } = chooseNetwork(from, vmType, system);
        expect(network).toBe(name);
        const asked = /--network (\S+)/.exec(flag)?.[1];
        const written = parse(yaml) as { networks?: object[] } | null;
        if (name === "default") expect([asked, written]).toEqual([undefined, null]);
        else if (name === "vzNAT")
          expect([asked, written!.networks]).toEqual(["vzNAT", [{ vzNAT: true }]]);
        else expect([asked, written!.networks]).toEqual([`lima:${name}`, [{ lima: name }]]);
        // what it prints is right as it stands
        const text = `images: [{location: /x}]\n${yaml}`;
        expect(parseInstance(text, "lima.yaml").diagnostics).toEqual([]);
      }
    },
  );

  test.each([
    ["host", "qemu", "linux", /sudo install -D .* \/opt\/limanet\/bin\/socket_vmnet/],
    ["host", "qemu", "linux", /limanet sudoers/],
    ["lan", "qemu", "linux", /ip and nft/],
    ["lan", "qemu", "linux", /networks\.bridged\.interface/],
    [
      "host",
      "qemu",
      "darwin",
      /socket_vmnet, or a copy of limanet under this name, where only root can write/,
    ],
    ["host", "qemu", "darwin", /limanet sudoers/],
    ["host", "vz", "darwin", /macOS 13 or later, for vmType vz/],
    ["host", "vz", "linux", /macOS 13 or later/],
    ["localhost", "vz", "linux", /macOS 13 or later/],
  ] as const)("from %s with %s on %s needs %s", (from, vmType, system, need) => {
    expect(chooseNetwork(from, vmType, system).needs.join("\n")).toMatch(need);
  });

  test("what works here today needs nothing, and nothing of macOS is asked of Linux", () => {
    expect(chooseNetwork("localhost", "qemu", "linux").needs).toEqual([]);
    expect(chooseNetwork("vms", "qemu", "linux").needs).toEqual([]);
    for (const from of REACHED_FROM)
      expect(chooseNetwork(from, "qemu", "linux").needs.join()).not.toMatch(/macOS/);
  });
});
