/** Name servers that lie, delay, cut, refuse and die, and what comes through to a guest all the same. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { decode, encode, type RecordType } from "dns-packet";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { NameServerUpstream } from "../../lib/host/dns-upstream.ts";
import { NameServer } from "../support/name-server.ts";

const HOST = "127.0.0.1";
let upstream: NameServerUpstream;
let servers: NameServer[];
beforeEach(async () => {
  upstream = new NameServerUpstream();
  servers = [];
  for (const tag of [1, 2, 3]) servers.push(await new NameServer(tag).listen(HOST));
});
afterEach(() => {
  upstream.close();
  for (const server of servers) server.close();
});

const route = (...ports: number[]) => ({
  servers: ports.map((port) => ({ address: HOST, port })),
  origin: "test",
  domain: undefined,
});
const query = (name: string, id = 7) =>
  new Uint8Array(
    encode({ type: "query", id, flags: 0x0100, questions: [{ type: "HINFO", name }] }),
  );
/** who answered */
const told = (reply: Uint8Array | undefined) => {
  if (reply === undefined) return undefined;
  const { id, answers, flags } = decode(Buffer.from(reply));
  expect(id).toBe(7);
  const data = answers?.[0];
  return data?.type === "HINFO" ? data.data.cpu : `rcode ${flags! & 15}`;
};
const ask = async (name: string, ...ports: number[]) =>
  told(await upstream.relay(query(name), route(...ports)));
const ports = () => servers.map(({ port }) => port);
/** a port on which nobody listens */
const closedPort = async () => {
  const gone = await new NameServer(0).listen(HOST);
  gone.close();
  return gone.port;
};

test("the first server is asked, and only it", async () => {
  expect(await ask("ok.test", ...ports())).toBe("1");
  expect(servers.map(({ asked }) => asked)).toEqual([["udp ok.test"], [], []]);
});

test("nothing but the truth is believed", async () => {
  expect(await ask("liar.test", servers[0]!.port)).toBe("1");
});

test("a server that never answers is asked again, and by TCP, and is an outage", async () => {
  expect(await ask("silent.test", servers[0]!.port)).toBeUndefined();
  expect(servers[0]!.asked).toEqual(["udp silent.test", "udp silent.test", "tcp silent.test"]);
}, 10_000);

test("who answered while the first was silent is asked first from then on", async () => {
  const quiet = Bun.udpSocket({ hostname: HOST, socket: { data: () => void heard++ } });
  let heard = 0;
  const { port } = await quiet;
  expect(await ask("a.test", port, servers[1]!.port)).toBe("2");
  expect(await ask("b.test", port, servers[1]!.port)).toBe("2");
  expect(heard).toBe(1);
  (await quiet).close();
});

test("a server that is not there is left at once, and all of them are an outage", async () => {
  const gone = await closedPort();
  expect(await ask("ok.test", gone, servers[1]!.port)).toBe("2");
  expect(await ask("ok.test", gone)).toBeUndefined();
  expect(await ask("ok.test")).toBeUndefined();
});

test("a server that fails is left for the next, and its word counts when no other is better", async () => {
  expect(await ask("servfail.test", servers[0]!.port)).toBe("rcode 2");
  expect(await ask("servfail.test", ...ports())).toBe("rcode 2");
  expect(servers.every(({ asked }) => asked.includes("udp servfail.test"))).toBe(true);
});

test("a server that has failed is not asked again while the next one is waited for", async () => {
  const quiet = await Bun.udpSocket({ hostname: HOST, socket: { data: () => {} } });
  expect(await ask("servfail.test", servers[0]!.port, quiet.port)).toBe("rcode 2");
  expect(servers[0]!.asked).toEqual(["udp servfail.test"]);
  quiet.close();
}, 10_000);

test("NXDOMAIN is an answer", async () => {
  expect(await ask("nx.test", ...ports())).toBe("rcode 3");
  expect(servers[1]!.asked).toEqual([]);
});

test("what is cut is fetched by TCP", async () => {
  expect(await ask("cut.test", servers[0]!.port)).toBe("1");
  expect(servers[0]!.asked).toEqual(["udp cut.test", "tcp cut.test"]);
});

test("what is cut and cannot be had by TCP comes cut", async () => {
  const reply = await upstream.relay(query("cut-close.test"), route(servers[0]!.port));
  expect(decode(Buffer.from(reply!)).flag_tc).toBe(true);
});

describe("many queries", () => {
  // macOS has no /proc; there sockets are not counted
  const openSockets = () =>
    (existsSync("/proc/self/fd") ? readdirSync("/proc/self/fd") : []).filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:");
      } catch {
        return false;
      }
    }).length;

  test("go from several ports with ids that are not in order, and leave no sockets", async () => {
    const before = openSockets();
    const [server] = servers;
    for (let round = 0; round < 10; round++)
      await Promise.all(
        Array.from({ length: 100 }, (_, i) => ask(`q${round}x${i}.test`, server!.port)),
      );
    expect(new Set(server!.ports).size).toBe(8);
    const steps = server!.ids.slice(1).map((id, i) => id - server!.ids[i]!);
    expect(new Set(server!.ids).size).toBeGreaterThan(900);
    expect(steps.filter((step) => Math.abs(step) < 256).length).toBeLessThan(100);
    expect(openSockets()).toBeLessThanOrEqual(before + 8);
    upstream.close();
    expect(openSockets()).toBe(before);
  });

  test("that are asked together are each told their own answer", async () => {
    const names = Array.from({ length: 300 }, (_, i) => `n${i}.test`);
    const replies = await Promise.all(
      names.map((name) => upstream.relay(query(name), route(servers[0]!.port))),
    );
    expect(replies.map((reply) => decode(Buffer.from(reply!)).questions![0]!.name)).toEqual(names);
  });
});

test.each<RecordType>(["HINFO", "SOA", "CAA", "DS"])(
  "%s is passed on octet for octet",
  async (type) => {
    const octets = new Uint8Array(
      encode({ type: "query", id: 7, flags: 0x0130, questions: [{ type, name: "MiXed.test" }] }),
    );
    const reply = await upstream.relay(octets, route(servers[0]!.port));
    expect(decode(Buffer.from(reply!)).questions).toEqual([
      { type, name: "MiXed.test", class: "IN" },
    ]);
  },
);
