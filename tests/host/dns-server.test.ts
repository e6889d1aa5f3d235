/** The responder on real sockets: streams of queries in pieces, clients that misbehave, octets that are no messages. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { decode, encode, type Packet } from "dns-packet";
import fc from "fast-check";
import { serveDns, type DnsServer } from "../../lib/host/dns-server.ts";
import { DnsResponder, type SystemAnswer } from "../../lib/service/dns/responder.ts";
import { Routes } from "../../lib/service/dns/routes.ts";
import { StaticHosts } from "../../lib/service/dns/static-hosts.ts";
import { DnsZones } from "../../lib/service/dns/zones.ts";
import { hex } from "../support/octets.ts";

const HOST = "127.0.0.1";
const hosts = new StaticHosts();
hosts.set("test", { "known.test": "192.0.2.1" });
const routes = new Routes({ servers: [], origin: "nobody" });
/** answers to come, by name */
const pending = new Map<string, (answer: SystemAnswer) => void>();
const responder = new DnsResponder({
  zones: new DnsZones(),
  hosts,
  naming: { revision: () => 1, hostsFile: () => [], route: (name) => routes.for(name) },
  resolver: {
    addresses: (name) => new Promise((resolve) => void pending.set(name, resolve)),
    query: async () => undefined,
  },
  upstream: { relay: async () => undefined },
  ipv6: false,
  emptyOnOutage: false,
  now: () => performance.now(),
});

let server: DnsServer;
beforeAll(async () => {
  server = await serveDns(responder, HOST, 0);
});
afterAll(() => server.close());

const query = (name: string, id: number) =>
  encode({ type: "query", id, flags: 0x0100, questions: [{ type: "A", name }] });
const framed = (...messages: Uint8Array[]) =>
  Buffer.concat(
    messages.flatMap((message) => [
      Buffer.from([message.length >> 8, message.length & 255]),
      message,
    ]),
  );
const answer: SystemAnswer = {
  kind: "addresses",
  addresses: ["192.0.2.9"],
  canonicalName: undefined,
};

/** A connection that gathers replies. */
async function connect() {
  let input = Buffer.alloc(0);
  const replies: Packet[] = [];
  let wake = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const socket = await Bun.connect({
    hostname: HOST,
    port: server.port,
    allowHalfOpen: true,
    socket: {
      data(_socket, octets) {
        input = Buffer.concat([input, octets]);
        while (input.length >= 2 && input.length >= 2 + input.readUInt16BE(0)) {
          const length = input.readUInt16BE(0);
          replies.push(decode(input.subarray(2, 2 + length)));
          input = input.subarray(2 + length);
        }
        wake.resolve();
        wake = Promise.withResolvers();
      },
      end: () => closed.resolve(),
      close: () => closed.resolve(),
    },
  });
  const until = async (count: number) => {
    while (replies.length < count) await wake.promise;
    return replies;
  };
  return { socket, until, closed: closed.promise, ids: () => replies.map(({ id }) => id) };
}

describe("a TCP connection", () => {
  test("carries several queries, whole or in pieces", async () => {
    const { socket, until } = await connect();
    const octets = framed(query("known.test", 1), query("known.test", 2), query("known.test", 3));
    for (const octet of octets) {
      socket.write(Uint8Array.of(octet));
      await Bun.sleep(0);
    }
    expect((await until(3)).map(({ id }) => id)).toEqual([1, 2, 3]);
    socket.end();
  });

  test("gets answers as they are ready, not in the order of the queries", async () => {
    const { socket, until, ids } = await connect();
    socket.write(framed(query("slow.test", 1), query("known.test", 2)));
    await until(1);
    expect(ids()).toEqual([2]);
    pending.get("slow.test")!(answer);
    await until(2);
    expect(ids()).toEqual([2, 1]);
    socket.end();
  });

  test("is still answered after its client has said that it will send no more", async () => {
    const { socket, until, closed } = await connect();
    socket.write(framed(query("half.test", 1)));
    socket.shutdown();
    while (!pending.has("half.test")) await Bun.sleep(1);
    pending.get("half.test")!(answer);
    await until(1);
    await closed;
  });

  test("may have more queries under way than are taken at a time", async () => {
    const { socket, until, ids } = await connect();
    const names = Array.from({ length: 80 }, (_, i) => `many${i}.test`);
    socket.write(framed(...names.map((name, i) => query(name, i))));
    const taken = () => names.filter((name) => pending.has(name)).length;
    while (taken() < 32) await Bun.sleep(1);
    await Bun.sleep(20);
    expect(taken()).toBe(32);
    for (const name of names) {
      while (!pending.has(name)) await Bun.sleep(1);
      pending.get(name)!(answer);
      pending.delete(name);
    }
    await until(80);
    expect(ids().toSorted((a, b) => a! - b!)).toEqual(names.map((_, i) => i));
    socket.end();
  });

  test.each([
    ["shorter than a header", hex("000b 0001 0100 0001 0000 0000 00")],
    ["longer than any query", hex("1001 00")],
  ])("ends with a message %s", async (_what, octets) => {
    const { socket, closed } = await connect();
    socket.write(octets);
    await closed;
    socket.end();
  });

  test("that leaves its answers unread costs the others nothing", async () => {
    const greedy = await Bun.connect({
      hostname: HOST,
      port: server.port,
      socket: { open: (socket) => void socket.pause(), data: () => {} },
    });
    const batch = framed(...Array.from({ length: 200 }, (_, i) => query("known.test", i)));
    for (let i = 0; i < 200; i++) greedy.write(batch);
    const { socket, until } = await connect();
    socket.write(framed(query("known.test", 5)));
    await until(1);
    greedy.terminate();
    socket.end();
  });

  test("is one of a thousand", async () => {
    const all = await Promise.all(Array.from({ length: 1000 }, () => connect()));
    await Promise.all(
      all.map(async ({ socket, until }, id) => {
        socket.write(framed(query("known.test", id)));
        const [reply] = await until(1);
        expect(reply).toMatchObject({ id, answers: [{ data: "192.0.2.1" }] });
        socket.end();
      }),
    );
  });
});

describe("over UDP", () => {
  test("whatever comes, the responder goes on", async () => {
    let heard = Promise.withResolvers<Packet>();
    const socket = await Bun.udpSocket({
      connect: { hostname: HOST, port: server.port },
      socket: {
        data(_socket, octets) {
          const reply = octets.length < 13 ? undefined : decode(octets);
          if (reply?.id === 4711) heard.resolve(reply);
        },
      },
    });
    const valid = query("known.test", 1);
    const flipped = fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, octet]) => {
      const copy = new Uint8Array(valid);
      copy[at] = octet;
      // never the id that is waited for
      copy[0] = 0;
      return copy;
    });
    const corpus = fc.sample(fc.oneof(fc.uint8Array({ maxLength: 600 }), flipped), {
      numRuns: 3000,
      seed: 4,
    });
    for (const [i, octets] of corpus.entries()) {
      if (octets[0] === 4711 >> 8) continue;
      socket.send(octets);
      if (i % 50 > 0) continue;
      heard = Promise.withResolvers();
      while (await Promise.race([heard.promise.then(() => false), Bun.sleep(20).then(() => true)]))
        socket.send(query("known.test", 4711));
      expect(await heard.promise).toMatchObject({ answers: [{ data: "192.0.2.1" }] });
    }
    socket.close();
  });
});
