/**
 * The scenarios of tests/scenarios once more, in real time, frame by frame: against the daemon, behind which a Linux server
 * and client are, and against a Linux TCP itself on the same wire, so that Linux is the judge of what the rows expect.
 */
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  canMakeNamespaces,
  FAR_ADDRESS,
  GATEWAY,
  HOST_ADDRESS,
  Lab,
  plugIn,
  Space,
} from "../support/lab.ts";
import { arp, ethernet } from "../support/injected-frames.ts";
import { Application, LivePlayer, type LiveSide } from "../support/live-tcp-scenario.ts";
import { RawGuest } from "../support/raw-guest.ts";

const SCENARIOS = new URL("../scenarios", import.meta.url).pathname;
const APPLICATION = new URL("../support/application.py", import.meta.url).pathname;
const GUEST = { address: "192.168.104.77", mac: "52:55:55:00:00:77" };
const LINUX = { address: "192.168.104.9", mac: "52:55:55:00:00:78" };
const GATEWAY_MAC = "5a:94:ef:e4:0c:dd";
/** scenarios that are played at the same time, each with an application of its own */
const LANES = 6;
const FIRST_PORT = 7200;
/** guest's ports of a lane */
const LANE_PORTS = 1000;

/** played in virtual time only */
const NOT_LIVE: Record<string, string> = {
  "keepalive.scn": "two hours",
  "keepalive-dead.scn": "two hours",
  "syn-never-answered.scn": "a minute",
  "our-window.scn": "the window is that of the scenario's small ring",
  "window-edge.scn": "the same",
  "reset-closed-window.scn": "the same",
  "ack-into-closed-window.scn": "the same",
  "large-segments.scn": "the wire here has no such card",
  "large-segments-to-a-small-end.scn": "the same",
  "held-acknowledgement.scn": "what is held, and how long, is each TCP's own",
};

const AS_IT_SAYS = /^undefined$/;
const BY_TIME = /unexpected|it was|waited in vain|^undefined$/;
/** where Linux does otherwise: why, and what is seen of it; what goes by time may come out as the scenario says (undefined) */
const LINUX_DIFFERS: Record<string, [why: string, seen: RegExp]> = {
  "zero-window.scn": ["its probes carry no octet", /1001:1002\(1\).*: waited in vain/],
  "probe-answers.scn": ["its probes carry no octet", /1001:1002\(1\): waited in vain/],
  "old-duplicate-syn.scn": [
    "its application hears nothing of a connection that was not opened",
    /ended reset: waited in vain/,
  ],
  "fin-out-of-order.scn": ["its block has the FIN's place in it", /sack 101-201: waited in vain/],
  "sack-recovery.scn": ["it finds losses by time (RFC 8985)", BY_TIME],
  "sack-time-out.scn": ["it finds losses by time (RFC 8985)", BY_TIME],
  "sack-two-holes.scn": ["it finds losses by time (RFC 8985)", BY_TIME],
};
/** a busy machine lets time-outs pass of which a scenario does not know */
const ATTEMPTS = 3;

const names = readdirSync(SCENARIOS).filter((name) => name.endsWith(".scn") && !(name in NOT_LIVE));

/** undefined: as the scenario says; otherwise what was not so */
type Outcomes = Map<string, string | undefined>;

async function playAll(
  space: Space,
  differs: typeof LINUX_DIFFERS,
  side: Omit<LiveSide, "application" | "firstGuestPort" | "server"> & {
    server: string;
    mac: string;
  },
): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  const waiting = [...names];
  const lane = async (_: unknown, index: number) => {
    const port = FIRST_PORT + index;
    const words = ["python3", "-u", APPLICATION, side.server, String(port)];
    const player = new LivePlayer({
      ...side,
      server: { address: side.server, port, mac: side.mac },
      application: new Application(await space.serve("tcp", port, ...words)),
      firstGuestPort: 20_000 + index * LANE_PORTS,
    });
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const text = readFileSync(join(SCENARIOS, name), "utf8");
      const expected = differs[name]?.[1] ?? AS_IT_SAYS;
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const outcome = await player.play(text).then(
          () => undefined,
          (error: Error) => error.message,
        );
        outcomes.set(name, outcome);
        if (expected.test(String(outcome))) break;
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return outcomes;
}

/** A daemon, with a Linux server and client behind it. */
async function playAgainstDaemon(): Promise<Outcomes> {
  const lab = await Lab.open();
  const wire = new RawGuest(lab.socket("stream"));
  try {
    const { address: spa, mac: sha } = GUEST;
    await wire.send(
      ethernet("ff:ff:ff:ff:ff:ff", sha, "0806", arp({ operation: 1, sha, spa, tpa: GATEWAY })),
    );
    return await playAll(
      lab.far,
      {},
      {
        wire,
        guest: GUEST,
        server: FAR_ADDRESS,
        mac: GATEWAY_MAC,
        async routeTo(guestPort) {
          const local = `${HOST_ADDRESS}:${guestPort}`;
          const remote = `${GUEST.address}:${guestPort}`;
          await lab.api("POST", "/services/forwarder/expose", { local, remote, protocol: "tcp" });
          return { address: HOST_ADDRESS, port: guestPort };
        },
      },
    );
  } finally {
    wire.close();
    await lab.close();
  }
}

/** What Linux has besides the RFCs that the scenarios name, or remembers of other connections. */
const PLAIN = {
  "net.ipv4.tcp_congestion_control": "reno",
  "net.ipv4.tcp_recovery": "0",
  "net.ipv4.tcp_early_retrans": "0",
  "net.ipv4.tcp_frto": "0",
  "net.ipv4.tcp_dsack": "0",
  "net.ipv4.tcp_no_metrics_save": "1",
};

/** A Linux TCP at the other end of the guest's wire. */
async function playAgainstLinux(): Promise<Outcomes> {
  const folder = mkdtempSync(join(tmpdir(), "limanet-linux-"));
  const linux = new Space(`lin${process.pid}`);
  await linux.open({});
  const socket = join(folder, "wire.sock");
  const waiting = RawGuest.awaitOne(socket);
  const pump = await plugIn(linux, socket, "stream", LINUX.mac, 1500);
  const wire = await waiting;
  try {
    for (const [key, value] of Object.entries(PLAIN)) await linux.set(key, value);
    await linux.ip("addr", "add", `${LINUX.address}/24`, "dev", "tap0");
    return await playAll(linux, LINUX_DIFFERS, {
      wire,
      guest: GUEST,
      server: LINUX.address,
      mac: LINUX.mac,
      routeTo: (port) => Promise.resolve({ address: GUEST.address, port }),
    });
  } finally {
    wire.close();
    pump.kill("SIGTERM");
    await pump.exited;
    await linux.close();
    rmSync(folder, { recursive: true });
  }
}

describe.skipIf(!canMakeNamespaces)("scenarios of TCP, frame by frame", () => {
  let daemon: Outcomes;
  let linux: Outcomes;
  beforeAll(async () => {
    [daemon, linux] = await Promise.all([playAgainstDaemon(), playAgainstLinux()]);
  }, 300_000);

  test.each(names)("%s: the daemon does what it says", (name) => {
    expect(daemon.get(name)).toBeUndefined();
  });

  test.each(names)("%s: so does Linux, or otherwise as is known", (name) => {
    expect(String(linux.get(name))).toMatch(LINUX_DIFFERS[name]?.[1] ?? AS_IT_SAYS);
  });
});
