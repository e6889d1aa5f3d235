import { beforeEach, describe, expect, test } from "bun:test";
import { parseMac } from "../../lib/addr/mac.ts";
import type { BridgePort } from "../../lib/link/bridge-port.ts";
import { Switch } from "../../lib/link/switch.ts";
import { Counters } from "../../lib/trace/counters.ts";
import { ethernet, hex, text } from "../support/injected-frames.ts";
import { ALL, ArrayPort, GATEWAY_MAC } from "../support/injected-network.ts";

const A = "02:00:00:00:00:0a";
const B = "02:00:00:00:00:0b";
const C = "02:00:00:00:00:0c";
const MULTICAST = "01:00:5e:00:00:fb";
/** IEEE 802.1D table 7-5 */
const AGEING_MS = 300_000;
const AT = 64;

let octets: Uint8Array;
let counters: Counters;
let link: Switch;
let ports: ArrayPort[];
let toGateway: number;

beforeEach(() => {
  octets = new Uint8Array(4096).fill(0xa5);
  counters = new Counters();
  link = new Switch(octets, counters);
  toGateway = 0;
  link.connectGateway({ onFrame: () => void toGateway++ }, parseMac(GATEWAY_MAC)!);
  ports = [0, 1, 2].map((id) => new ArrayPort(id, octets));
  for (const port of ports) link.attach(port);
});

function inject(from: BridgePort, frame: Uint8Array, now = 0): void {
  octets.set(frame, AT);
  link.onFrame(now, from, AT, AT + frame.length);
}

/** a frame between two addresses; how many frames have come out at each port, and at the gateway */
function carry(from: number, source: string, destination: string, now = 0): string {
  inject(ports[from]!, ethernet(destination, source, "88b5", text("x")), now);
  const out = [...ports.map((port) => port.take().length), toGateway];
  toGateway = 0;
  return out.join(" ");
}

const learn = (port: number, mac: string, now = 0) => void carry(port, mac, GATEWAY_MAC, now);

test.each([
  ["broadcast goes to all others and the gateway", ALL, "0 1 1 1"],
  ["multicast goes to all others and the gateway", MULTICAST, "0 1 1 1"],
  ["unknown unicast goes to all others only", C, "0 1 1 0"],
  ["known unicast goes to its port only", B, "0 1 0 0"],
  ["the gateway's address goes to no guest", GATEWAY_MAC, "0 0 0 1"],
  ["an address behind the same port goes nowhere", A, "0 0 0 0"],
])("onFrame(): %s", (_name, destination, out) => {
  learn(0, A);
  learn(1, B);
  expect(carry(0, A, destination)).toBe(out);
});

test("onFrame() carries a frame unchanged when it floods it", () => {
  const frame = ethernet(ALL, A, "88b5", hex`00 11 22 33`);
  inject(ports[0]!, frame);
  expect(ports[1]!.take()).toEqual([frame]);
  expect(ports[2]!.take()).toEqual([frame]);
});

test.each([
  ["its frames go to a guest that takes none", B, 10],
  ["they go to the gateway", GATEWAY_MAC, 0],
  ["they go to all", ALL, 0],
])("heldUntil(): a port whose guest sends on while %s", (_name, destination, until) => {
  learn(0, A);
  learn(1, B);
  carry(0, A, destination);
  for (const port of ports) port.busy = true;
  expect(link.heldUntil(0, ports[0]!)).toBe(until);
  expect(link.heldUntil(0, ports[1]!)).toBe(0);
});

describe("heldUntil(): who sends to a guest that takes none just now", () => {
  let from: ArrayPort;
  let to: ArrayPort;
  beforeEach(() => {
    learn(0, A);
    learn(1, B);
    carry(0, A, B);
    [from, to] = ports as [ArrayPort, ArrayPort];
    to.busy = true;
  });
  const held = (...times: number[]) => times.map((now) => link.heldUntil(now, from));

  test("waits for 10 ms for one that stands still, and not again before it moves", () => {
    expect(held(0, 4, 9, 10, 11, 20, 500, 1000)).toEqual([10, 10, 10, 0, 0, 0, 0, 0]);
    to.octetsOut.add(1);
    expect(held(1005, 1019)).toEqual([0, 0]);
    to.octetsOut.add(1);
    expect(held(1040, 1049, 1050)).toEqual([1050, 1050, 0]);
  });

  test.each([
    ["again and again for one that takes 128 KiB in 10 ms", 131_072, [10, 20, 30]],
    ["not for one that takes less", 131_071, [10, 0, 0]],
  ])("waits %s", (_name, taken, until) => {
    const found = [0, 10, 20].map((now) => {
      const [at] = held(now);
      to.octetsOut.add(taken);
      return at;
    });
    expect(found).toEqual(until);
  });

  test("waits for nobody once it is gone, or takes frames again", () => {
    to.busy = false;
    expect(held(0)).toEqual([0]);
    to.busy = true;
    expect(held(1)).toEqual([11]);
    link.detach(to);
    expect(held(2)).toEqual([0]);
  });
});

test.each([
  ["to the port of a known address", B, "0 1 0"],
  ["to all others when the address is unknown", C, "0 1 1"],
  ["to all others when it is a broadcast", ALL, "0 1 1"],
])("onPieces() carries a frame that is in two places %s", (_name, destination, out) => {
  learn(1, B);
  const frame = ethernet(destination, A, "88b5", text("begin and end"));
  octets.set(frame.subarray(0, 20), AT);
  octets.set(frame.subarray(20), 500);
  link.onPieces(0, ports[0]!, AT, 20, 500, frame.length - 20);
  const frames = ports.map((port) => port.take());
  expect(frames.map(({ length }) => length).join(" ")).toBe(out);
  for (const each of frames.flat()) expect(each).toEqual(frame);
  expect(link.portOf(parseMac(A)!)).toBe(ports[0]);
});

describe("an address that shows up behind another port", () => {
  /** what the second guest does with B, which the first has; behind which port B is then, and what the first got */
  const take = (now = 0) => {
    const out = carry(2, B, ALL, now);
    return { carried: out !== "0 0 0 0" && out !== "0 1 0 0", isAt: link.portOf(parseMac(B)!)?.id };
  };

  test("stays where it was first, however long that has been silent", () => {
    learn(1, B);
    learn(2, C);
    expect(take(2 * AGEING_MS)).toEqual({ carried: false, isAt: 1 });
    expect(counters.values).toEqual({ "switch-foreign-source": 1 });
  });

  test("stays where it was first when each calls it its card's", () => {
    learn(1, B);
    expect(take()).toEqual({ carried: false, isAt: 1 });
  });

  test("goes to the guest whose card has it from one that took it up beside its own", () => {
    learn(1, A);
    learn(1, B);
    expect(take()).toEqual({ carried: true, isAt: 2 });
    learn(1, B);
    expect(link.portOf(parseMac(B)!)).toBe(ports[2]);
  });

  test("is free again when its port is detached", () => {
    learn(1, B);
    link.detach(ports[1]!);
    expect(take()).toEqual({ carried: true, isAt: 2 });
  });

  test("makes the switch ask its owner for a sign of life, once a second, with nothing in it", () => {
    learn(1, B);
    const asked = [0, 500, 1000].map((now) => {
      inject(ports[2]!, ethernet(ALL, B, "0806", text("an ARP packet")), now);
      return ports[1]!.take().map((frame) => frame.toHex());
    });
    const header = ethernet(ALL, B, "0806", text("")).toHex();
    expect(asked).toEqual([[header], [], [header]]);
  });

  test.each([
    ["leaves an uplink when it was silent there for long", 1, true, 2],
    ["leaves an uplink for a guest's card", 0, false, 2],
    ["stays behind an uplink that speaks", 0, true, 3],
  ])("%s", (_name, silentMs, hasCard, isAt) => {
    const uplink = new ArrayPort(3, octets);
    link.attach(uplink, "uplink");
    inject(uplink, ethernet(GATEWAY_MAC, B, "88b5", text("x")));
    if (hasCard) learn(2, C);
    expect(take(silentMs && AGEING_MS + silentMs).isAt).toBe(isAt);
  });

  test("is told once an episode", () => {
    const lines: string[] = [];
    link.offences.tell = (line) => void lines.push(line);
    learn(1, B);
    const line = `frames of a guest are dropped port=2 reason=switch-foreign-source source=${B}`;
    for (const now of [0, 30_000, 90_000]) take(now);
    expect(lines).toEqual([line]);
    take(150_001);
    expect(lines).toEqual([line, line]);
    expect(counters.values).toEqual({ "switch-foreign-source": 4 });
  });
});

test.each([
  ["a frame too short for a header", hex`ffffffffffff 02000000000a 08`, "switch-runt"],
  ["an empty frame", hex``, "switch-runt"],
  ["a broadcast source", ethernet(B, ALL, "88b5", text("")), "switch-group-source"],
  ["a multicast source", ethernet(B, MULTICAST, "88b5", text("")), "switch-group-source"],
  ["the gateway's source", ethernet(B, GATEWAY_MAC, "88b5", text("")), "switch-gateway-source"],
])("onFrame() drops and counts %s", (_name, frame, reason) => {
  inject(ports[0]!, frame);
  expect(ports.map((port) => port.take())).toEqual([[], [], []]);
  expect(counters.values).toEqual({ [reason]: 1 });
});

test("onFrame() carries a header without a payload", () => {
  inject(ports[0]!, ethernet(B, A, "88b5", text("")));
  expect(ports[1]!.take()).toHaveLength(1);
});

test("detach() forgets what was behind the port", () => {
  learn(1, B);
  link.detach(ports[1]!);
  expect(link.portOf(parseMac(B)!)).toBeUndefined();
  expect(carry(0, A, B)).toBe("0 0 1 0");
});

test("pin() keeps an address behind its port, whoever says that it is theirs, and however old it is", () => {
  learn(2, C);
  link.pin(parseMac(C)!, ports[1]!);
  expect(carry(2, C, ALL)).toBe("0 0 0 0");
  expect(counters.values).toEqual({ "switch-pinned-source": 1 });
  expect(carry(0, A, C)).toBe("0 1 0 0");
  fill(1);
  learn(1, B, 2 * AGEING_MS);
  expect(carry(0, A, C)).toBe("0 1 0 0");
  link.detach(ports[1]!);
  expect(carry(2, C, ALL)).toBe("1 0 0 1");
});

test("attach() lets an uplink have more addresses than guests", () => {
  const uplink = new ArrayPort(3, octets);
  link.attach(uplink, "uplink");
  const speak = (n: number) => inject(uplink, ethernet(GATEWAY_MAC, nth(n), "88b5", text("x")));
  for (let n = 0; n < 4096; n++) speak(n);
  expect(counters.values).toEqual({});
  speak(4096);
  expect(counters.values).toEqual({ "switch-table-full": 1 });
});

/** the n-th of many addresses */
const nth = (n: number) => `06:00:00:00:${n.toString(16).padStart(4, "0").replace(/(..)/, "$1:")}`;
const fill = (port: number, now = 0) => {
  for (let n = 0; n < 64; n++) learn(port, nth(n), now);
};

test("onFrame() floods to an address beyond a port's 64, and counts it", () => {
  fill(1);
  expect(counters.values).toEqual({});
  expect(carry(1, B, ALL)).toBe("1 0 1 1");
  expect(counters.values).toEqual({ "switch-table-full": 1 });
  expect(carry(0, A, B)).toBe("0 1 1 0");
  expect(carry(0, A, nth(0))).toBe("0 1 0 0");
});

test("a port with a full table leaves the others theirs", () => {
  fill(1);
  learn(1, B);
  learn(2, C);
  expect(carry(0, A, C)).toBe("0 0 1 0");
});

test("an address that moves away makes room in a full table", () => {
  fill(1);
  learn(2, nth(1));
  learn(1, B);
  expect(carry(0, A, B)).toBe("0 1 0 0");
  expect(counters.values).toEqual({});
});

test.each([
  ["makes room when its address has been silent for longer than the ageing time", 1, true],
  ["makes no room when its address has been silent for just the ageing time", 0, false],
])("an old entry %s", (_name, more, learnt) => {
  fill(1);
  learn(1, B, AGEING_MS + more);
  expect(link.portOf(parseMac(B)!)).toBe(learnt ? ports[1] : undefined);
});

test("an address that speaks stays in the table when others age", () => {
  fill(1);
  learn(1, nth(5), 10);
  learn(1, B, AGEING_MS + 5);
  expect(link.portOf(parseMac(nth(5))!)).toBe(ports[1]);
  expect(link.portOf(parseMac(nth(6))!)).toBeUndefined();
});

test("a full port loses its own frames only, and counts them", () => {
  ports[1]!.room = 1;
  for (let i = 0; i < 3; i++) inject(ports[0]!, ethernet(ALL, A, "88b5", text("x")));
  expect(ports.map((port) => [port.take().length, port.dropped])).toEqual([
    [0, 0],
    [1, 2],
    [3, 0],
  ]);
});

test.each([
  ["to the port of a known address", B, "0 1 0"],
  ["to all ports when the address is unknown", C, "1 1 1"],
  ["to all ports when it is a broadcast", ALL, "1 1 1"],
])("fromGateway() sends a frame %s, in its three pieces", (_name, destination, out) => {
  learn(1, B);
  octets.set(text("head"), 200);
  octets.set(text("body"), 300);
  octets.set(text("tail"), 400);
  link.fromGateway(parseMac(destination)!, 200, 4, 300, 4, 400, 4);
  const frames = ports.map((port) => port.take());
  expect(frames.map(({ length }) => length).join(" ")).toBe(out);
  expect(frames.flat().map((frame) => new TextDecoder().decode(frame))).toContain("headbodytail");
});

test("observer sees each frame once, whoever sent it and wherever it goes", () => {
  const seen: number[][] = [];
  link.observer = (...pieces) => void seen.push(pieces);
  inject(ports[0]!, ethernet(ALL, A, "88b5", text("")));
  inject(ports[0]!, hex`00`);
  link.fromGateway(parseMac(ALL)!, 200, 14, 300, 5, 400, 6);
  expect(seen).toEqual([
    [AT, 14, 0, 0, 0, 0],
    [AT, 1, 0, 0, 0, 0],
    [200, 14, 300, 5, 400, 6],
  ]);
});
