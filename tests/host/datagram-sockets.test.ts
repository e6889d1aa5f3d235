/**
 * UDP and echo sockets with the means of each system: Linux' queue of errors, and what macOS has in its place, which
 * Linux can do as well (errors by errno; a raw ICMP socket hears what macOS's echo sockets hear).
 */
import { describe, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { DatagramSockets, type DatagramAbi } from "../../lib/host/datagram-sockets.ts";
import { EventLoop } from "../../lib/host/event-loop.ts";
import { abi, SOCK_DGRAM } from "../../lib/host/libc.ts";
import { VectoredIo } from "../../lib/host/vectored-io.ts";
import { Gather } from "../../lib/storage/gather.ts";
import { PacketMemory } from "../../lib/storage/packet-memory.ts";

const LOOPBACK = 0x7f000001;
const SOCK_RAW = 3;
const TEXT = new TextEncoder().encode("hello");

function open(system?: DatagramAbi) {
  const memory = new PacketMemory(1 << 20);
  const loop = new EventLoop();
  const sockets = new DatagramSockets(loop, new VectoredIo(memory), () => 0, system);
  const out = memory.reserve(2048);
  const into = memory.reserve(2048);
  let told = 0;
  return {
    sockets,
    octets: memory.octets,
    out,
    into,
    owner: { onHostReadable: () => void told++ },
    /** what comes within two seconds */
    async next(handle: number): Promise<string> {
      for (let i = 0; i < 2000; i++) {
        loop.wait(0);
        const received = sockets.receive(handle, into, 2048);
        if (received !== "nothing") return received;
        await Bun.sleep(1);
      }
      return "nothing";
    },
    close: () => loop.close(),
  };
}

/** a UDP port of the loopback that nobody has any more */
async function deadPort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

const WAYS: [string, DatagramAbi | undefined][] = [
  ["as this system does", undefined],
  ["without a queue of errors", { ...abi, hasErrorQueue: false, echoType: SOCK_DGRAM }],
];

describe("several datagrams with one call", () => {
  const pieces = (net: ReturnType<typeof open>, ...lengths: number[]): Gather => {
    const gather = new Gather(lengths.length);
    let at = net.out;
    for (const [n, length] of lengths.entries()) {
      net.octets.fill(n + 1, at, at + length);
      gather.add(at, length);
      at += length + 100;
    }
    return gather;
  };

  test("come as they were, each on its own", async () => {
    const net = open();
    const heard: string[] = [];
    const peer = createSocket("udp4");
    peer.on("message", (message) => heard.push(`${message[0]}:${message.length}`));
    await new Promise<void>((resolve) => peer.bind(0, "127.0.0.1", resolve));
    const handle = net.sockets.connectUdp(LOOPBACK, peer.address().port, net.owner) as number;
    expect(net.sockets.sendTrain(handle, pieces(net, 300, 300, 300, 7), 300, 64)).toBe(true);
    expect(net.sockets.sendTrain(handle, pieces(net, 5, 5), 5, 64)).toBe(true);
    while (heard.length < 6) await Bun.sleep(1);
    expect(heard).toEqual(["1:300", "2:300", "3:300", "4:7", "1:5", "2:5"]);
    net.sockets.close(handle);
    peer.close();
    net.close();
  });

  test("are refused, and always from then on, where they are more than its way takes", async () => {
    const net = open();
    const handle = net.sockets.connectUdp(LOOPBACK, await deadPort(), net.owner) as number;
    // 1000 datagrams of an octet: EINVAL (udp(7): UDP_MAX_SEGMENTS)
    expect(net.sockets.sendTrain(handle, pieces(net, 1000), 1, 64)).toBe(false);
    expect(net.sockets.sendTrain(handle, pieces(net, 5, 5), 5, 64)).toBe(false);
    expect(net.sockets.send(handle, net.out, 5, 64)).toBeUndefined();
    net.sockets.close(handle);
    net.close();
  });

  test("are refused by a system without them", async () => {
    const net = open({ ...abi, UDP_SEGMENT: 0, echoType: SOCK_DGRAM });
    const handle = net.sockets.connectUdp(LOOPBACK, await deadPort(), net.owner) as number;
    expect(net.sockets.sendTrain(handle, pieces(net, 5, 5), 5, 64)).toBe(false);
    net.sockets.close(handle);
    net.close();
  });

  test.each(WAYS)(
    "an error that they tell first is received nevertheless, %s",
    async (_, system) => {
      const net = open(system);
      const handle = net.sockets.connectUdp(LOOPBACK, await deadPort(), net.owner) as number;
      expect(net.sockets.sendTrain(handle, pieces(net, 5, 5), 5, 64)).toBe(true);
      let left = true;
      for (let i = 0; i < 100 && left; i++) {
        left = net.sockets.sendTrain(handle, pieces(net, 5, 5), 5, 64);
        await Bun.sleep(1);
      }
      expect(left).toBe(false);
      expect(net.sockets.receive(handle, net.into, 2048)).toBe("error");
      expect(net.sockets.received.icmpCode).toBe(3);
      net.sockets.close(handle);
      net.close();
    },
  );
});

describe.each(WAYS)("UDP %s", (_name, system) => {
  test("a datagram goes to a peer and its answer comes back", async () => {
    const net = open(system);
    const peer = createSocket("udp4");
    peer.on("message", (message, { port, address }) => peer.send(message, port, address));
    await new Promise<void>((resolve) => peer.bind(0, "127.0.0.1", resolve));
    const handle = net.sockets.connectUdp(LOOPBACK, peer.address().port, net.owner) as number;
    net.octets.set(TEXT, net.out);
    expect(net.sockets.send(handle, net.out, TEXT.length, 64)).toBeUndefined();
    expect(await net.next(handle)).toBe("datagram");
    expect(net.sockets.received.length).toBe(TEXT.length);
    expect(net.octets.slice(net.into, net.into + TEXT.length)).toEqual(TEXT);
    net.sockets.close(handle);
    peer.close();
    net.close();
  });

  test("a port that nobody has is told as port unreachable, once", async () => {
    const net = open(system);
    const handle = net.sockets.connectUdp(LOOPBACK, await deadPort(), net.owner) as number;
    expect(net.sockets.send(handle, net.out, 5, 64)).toBeUndefined();
    expect(await net.next(handle)).toBe("error");
    const { icmpType, icmpCode } = net.sockets.received;
    expect([icmpType, icmpCode]).toEqual([3, 3]);
    expect(net.sockets.receive(handle, net.into, 2048)).toBe("nothing");
    net.sockets.close(handle);
    net.close();
  });

  test("an error that a send tells first is received as an error nevertheless", async () => {
    const net = open(system);
    const handle = net.sockets.connectUdp(LOOPBACK, await deadPort(), net.owner) as number;
    let failure: string | undefined;
    for (let i = 0; i < 100 && failure === undefined; i++) {
      failure = net.sockets.send(handle, net.out, 5, 64);
      await Bun.sleep(1);
    }
    expect(failure).toBe("refused");
    expect(net.sockets.receive(handle, net.into, 2048)).toBe("error");
    net.sockets.close(handle);
    net.close();
  });
});

const canOpenRaw = process.platform === "linux" && process.getuid?.() === 0;
if (!canOpenRaw) process.stderr.write("skipped: echo on raw sockets (they need root on Linux)\n");

describe.skipIf(!canOpenRaw)("echo on sockets that hear others too", () => {
  const system: DatagramAbi = {
    ...abi,
    hasErrorQueue: false,
    echoIsOwn: false,
    echoType: SOCK_RAW,
  };
  /** an echo request of a guest with identifier 7 and the given sequence */
  const request = (sequence: number) => {
    const sum = ~(0x0800 + 7 + sequence) & 0xffff;
    return Uint8Array.from([8, 0, sum >> 8, sum & 0xff, 0, 7, 0, sequence]);
  };

  test("each of two sockets to one peer gets the reply to its own request, without the IP header", async () => {
    const net = open(system);
    const handles = [1, 2].map(() => net.sockets.connectEcho(LOOPBACK, net.owner) as number);
    for (const [i, handle] of handles.entries()) {
      net.octets.set(request(40 + i), net.out);
      expect(net.sockets.send(handle, net.out, 8, 64)).toBeUndefined();
      // the guest's request is as it was: errors quote it
      expect(net.octets.slice(net.out, net.out + 8)).toEqual(request(40 + i));
    }
    for (const [i, handle] of handles.entries()) {
      expect(await net.next(handle)).toBe("datagram");
      expect(net.sockets.received.length).toBe(8);
      const [type, , , , , , high, low] = net.octets.slice(net.into, net.into + 8);
      expect([type, high, low]).toEqual([0, 0, 40 + i]);
      expect(net.sockets.receive(handle, net.into, 2048)).toBe("nothing");
    }
    for (const handle of handles) net.sockets.close(handle);
    net.close();
  });
});
