/** ping, traceroute and the errors that other programs depend on, between real network stacks. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  canMakeNamespaces,
  DEAD_ADDRESS,
  FAR_ADDRESS,
  GATEWAY,
  HOST_ADDRESS,
  Lab,
  UNREACHABLE_ADDRESS,
  type Guest,
} from "../support/lab.ts";

describe.skipIf(!canMakeNamespaces)("ICMP", () => {
  let lab: Lab;
  let guest: Guest;
  beforeAll(async () => {
    lab = await Lab.open();
    guest = await lab.guest();
    await guest.dhcp();
  });
  afterAll(() => lab.close());

  const ping = (address: string, ...more: string[]) =>
    guest.run("ping", "-n", "-c", "3", "-i", "0.05", "-W", "2", ...more, address);

  test.each([
    ["the gateway", GATEWAY],
    ["an address of the host", HOST_ADDRESS],
    ["a machine two routers away", FAR_ADDRESS],
  ])("ping reaches %s", async (_name, address) => {
    const { stdout, code } = await ping(address);
    expect(stdout).toContain("3 packets transmitted, 3 received");
    expect(code).toBe(0);
  });

  test("ping of 4000 octets goes out in fragments and comes back in fragments", async () => {
    expect((await ping(GATEWAY, "-s", "4000")).stdout).toContain("3 received");
    expect((await ping(FAR_ADDRESS, "-s", "4000")).stdout).toContain("3 received");
  });

  test("a dead machine stays silent: no answer is made up", async () => {
    const { stdout } = await guest.run(
      "ping",
      "-n",
      "-c",
      "2",
      "-i",
      "0.1",
      "-W",
      "1",
      DEAD_ADDRESS,
    );
    expect(stdout).toContain("2 packets transmitted, 0 received");
    expect(stdout).not.toContain("Unreachable");
  });

  test("an address of the network that nobody has stays silent", async () => {
    const { stdout } = await guest.run("ping", "-n", "-c", "1", "-W", "1", "192.168.104.99");
    expect(stdout).toContain("0 received");
  });

  test("what a router says of an unreachable machine reaches the guest", async () => {
    const { stdout } = await ping(UNREACHABLE_ADDRESS);
    expect(stdout).toMatch(/Destination Host Unreachable/);
  });

  test("two guests ping each other", async () => {
    const other = await lab.guest();
    const { ip } = await other.dhcp();
    expect((await ping(ip!)).stdout).toContain("3 received");
  });

  test.each([
    ["UDP", []],
    ["ICMP", ["-I"]],
  ])(
    "traceroute by %s sees the gateway, the host's router and the machine",
    async (_name, options) => {
      const { stdout } = await guest.run(
        ...[
          "traceroute",
          "-n",
          "-q",
          "1",
          "-w",
          "2",
          "-N",
          "1",
          "-m",
          "6",
          ...options,
          FAR_ADDRESS,
        ],
      );
      const hops = [...stdout.matchAll(/^ *\d+ +(\S+)/gm)].map(([, hop]) => hop!);
      expect(hops).toEqual([GATEWAY, "10.200.1.254", FAR_ADDRESS]);
    },
  );

  test("a UDP port where nobody listens is told as unreachable", async () => {
    const script = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
s.connect(("${FAR_ADDRESS}", 9))
s.send(b"x")
try:
    s.recv(10)
except ConnectionRefusedError:
    print("refused")`;
    expect((await guest.run("python3", "-c", script)).stdout).toBe("refused\n");
  });

  test("a small MTU beyond the host is told to the guest's path MTU discovery", async () => {
    await lab.router.ip("link", "set", lab.far.name, "mtu", "1300");
    const { stdout, stderr } = await ping(FAR_ADDRESS, "-M", "do", "-s", "1400");
    expect(stdout + stderr).toMatch(/[Mm]essage too long|Frag needed|mtu ?= ?1300/);
    await lab.router.ip("link", "set", lab.far.name, "mtu", "1500");
  });
});
