/** A card on a network of which there is a socket only, whose daemon is killed: the other ends are limanet's own and a listener as QEMU's. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { UnixSocketListener } from "bun";
import { ServedNetwork } from "../../lib/daemon/served-network.ts";
import { isServed } from "../../lib/host/unix-http.ts";
import { hex } from "../support/octets.ts";
import { until } from "../support/until.ts";

const LIMIT = 30_000;
const MAIN = new URL("../../main.ts", import.meta.url).pathname;
/** who has the router's address? With the frame's length in front, as on a stream */
const QUESTION = hex(`
  0000002a                                  # length
  ffffffffffff 525500000001 0806            # Ethernet
  0001 0800 06 04 0001                      # ARP request
  525500000001 c0a86809 000000000000 c0a86802`);

let folder: string;
let socket: string;
let states: string[];
let said: string[];
let starts: number;
/** the router's answers that have come, each to a question of its own connection */
let answers: number;
let qemu: UnixSocketListener<undefined>;
let daemon: { kill(signal: "SIGKILL"): void; readonly exited: Promise<number> } | undefined;
let network: ServedNetwork | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-served-"));
  socket = join(folder, "net.sock");
  [states, said, starts, answers] = [[], [], 0, 0];
  qemu = Bun.listen({
    unix: join(folder, "card.sock"),
    socket: {
      open: (connection) => void connection.write(QUESTION),
      data: () => void answers++,
    },
  });
});
afterEach(async () => {
  await network?.close();
  network = undefined;
  daemon?.kill("SIGKILL");
  await daemon?.exited;
  daemon = undefined;
  qemu.stop(true);
  rmSync(folder, { recursive: true, force: true });
}, LIMIT);

async function serve(): Promise<void> {
  starts++;
  const words = [`--listen-qemu=${socket}`, `--listen=${socket}.descriptor`];
  daemon = Bun.spawn([process.execPath, MAIN, "usernet", "--subnet=192.168.104.0/24", ...words], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  while (!(await isServed(`${socket}.descriptor`))) await Bun.sleep(10);
}

async function kill(): Promise<void> {
  daemon!.kill("SIGKILL");
  await daemon!.exited;
}

const joined = async (start?: () => Promise<void>) => {
  network = await ServedNetwork.open({
    network: "net",
    socket,
    start,
    log: { error: (line) => said.push(line), warn: () => {} },
    onState: (_network, state) => states.push(state),
  });
  return network;
};

test(
  "a QEMU that listens is connected to each daemon that comes, and one of networks.yaml is started",
  async () => {
    await serve();
    const card = await joined(async () => {
      // as a managed network does: nothing when it runs
      if (!(await isServed(`${socket}.descriptor`))) await serve();
    });
    const place = join(folder, "card.sock");
    expect(card.backend(place)).toMatchObject({ stream: socket, listen: place });
    await card.attached(false);
    await until(() => answers === 1);
    for (let kills = 1; kills <= 2; kills++) {
      await kill();
      await until(() => answers === 1 + kills && states.at(-1) === "restored");
    }
    // more often where a dying daemon was taken for one that serves
    expect(states.slice(0, 4)).toEqual(["lost", "restored", "lost", "restored"]);
    expect(starts).toBe(3);
    expect(said).toEqual([]);
  },
  LIMIT,
);

test(
  "somebody else's network is waited for, and a QEMU that reconnects is left to itself",
  async () => {
    await serve();
    const card = await joined();
    card.backend(join(folder, "card.sock"));
    await card.attached(true);
    await kill();
    await until(() => states.length === 1);
    await serve();
    await until(() => states.length === 2);
    expect(states).toEqual(["lost", "restored"]);
    expect(answers).toBe(0);
    expect(said).toEqual([]);
  },
  LIMIT,
);

test(
  "a start that fails is told and tried again",
  async () => {
    await serve();
    let fails = 2;
    const card = await joined(async () => {
      if (fails-- > 0) throw new Error("sudo wants a password");
      await serve();
    });
    card.backend(join(folder, "card.sock"));
    await card.attached(false);
    await until(() => answers === 1);
    await kill();
    await until(() => states.length === 2);
    expect(said).toEqual([
      "sudo wants a password; it is tried again in 0.5 s",
      "sudo wants a password; it is tried again in 1 s",
    ]);
    await until(() => answers === 2);
  },
  LIMIT,
);

test("a program that takes no descriptors is connected to by QEMU, and not watched", async () => {
  const other = Bun.listen({ unix: socket, socket: { data() {} } });
  const card = await joined();
  expect(card.backend(join(folder, "card.sock")).listen).toBeUndefined();
  await card.attached(false);
  other.stop(true);
  await card.close();
  expect(states).toEqual([]);
});
