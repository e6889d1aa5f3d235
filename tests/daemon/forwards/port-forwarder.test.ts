/** How a plan is carried out: in which order, what is told, and what becomes of what fails. */
import { beforeEach, describe, expect, test } from "bun:test";
import type { ForwardPlan, PlannedForward } from "../../../lib/daemon/forwards/forward-plan.ts";
import {
  PortForwarder,
  type Carrier,
  type ForwardEvent,
} from "../../../lib/daemon/forwards/port-forwarder.ts";

/** what was asked of the carriers, in order */
let asked: string[];
/** places on the host that are taken */
let taken: Map<string, "failed" | "not-forwarding">;
let events: ForwardEvent[];
let forwarder: PortForwarder;

const carrier = (name: string): Carrier => ({
  open: async (local) => {
    await Bun.sleep(1);
    if (taken.has(local)) throw new Error("taken");
    asked.push(`${name} + ${local}`);
  },
  close: async (local) => void asked.push(`${name} - ${local}`),
});

beforeEach(() => {
  asked = [];
  taken = new Map();
  events = [];
  forwarder = new PortForwarder({
    carriers: { network: carrier("net"), ssh: carrier("ssh"), "ssh-reverse": carrier("rev") },
    explain: async (_forward, local) => ({ type: taken.get(local)!, why: `${local} is taken` }),
    emit: (event) => events.push(event),
    log: {
      error: (line) => events.push({ type: "failed", protocol: "", guestAddr: line }),
      warn() {},
    },
  });
});

const forward = (port: number, via: "network" | "ssh" = "network"): PlannedForward => ({
  protocol: "tcp",
  guest: `0.0.0.0:${port}`,
  host: `127.0.0.1:${port}`,
  locals: [`127.0.0.1:${port}`, `[::1]:${port}`],
  way: via === "ssh" ? { via, target: `127.0.0.1:${port}` } : { via, remote: `10.0.0.1:${port}` },
});
const plan = (...forwards: PlannedForward[]): ForwardPlan => ({
  forwards,
  refused: [],
  waiting: [],
});
const told = () => events.splice(0).map(({ type, hostAddr, error }) => [type, hostAddr, error]);
const done = () => asked.splice(0);

describe("PortForwarder", () => {
  test("what is new is made before what is gone is ended, and both are told", async () => {
    await forwarder.apply(plan(forward(1), forward(2)));
    expect(done()).toEqual([
      "net + 127.0.0.1:1",
      "net + [::1]:1",
      "net + 127.0.0.1:2",
      "net + [::1]:2",
    ]);
    expect(told()).toEqual([
      ["forwarding", "127.0.0.1:1", undefined],
      ["forwarding", "127.0.0.1:2", undefined],
    ]);
    await forwarder.apply(plan(forward(2), forward(3)));
    expect(done()).toEqual([
      "net + 127.0.0.1:3",
      "net + [::1]:3",
      "net - 127.0.0.1:1",
      "net - [::1]:1",
    ]);
    expect(told()).toEqual([
      ["forwarding", "127.0.0.1:3", undefined],
      ["stopping", "127.0.0.1:1", undefined],
    ]);
  });

  test("the same plan again does nothing", async () => {
    await forwarder.apply(plan(forward(1)));
    done();
    told();
    await forwarder.apply(plan(forward(1)));
    expect([done(), told()]).toEqual([[], []]);
  });

  test("another way is taken without a word, the old one being left first", async () => {
    await forwarder.apply(plan(forward(1)));
    done();
    told();
    await forwarder.apply(plan(forward(1, "ssh")));
    expect(done()).toEqual([
      "net - 127.0.0.1:1",
      "net - [::1]:1",
      "ssh + 127.0.0.1:1",
      "ssh + [::1]:1",
    ]);
    expect(told()).toEqual([]);
    expect(forwarder.rows()).toMatchObject([{ via: "ssh", state: "forwarding" }]);
  });

  test("of plans that come at once the last counts", async () => {
    await Promise.all([1, 2, 3].map((port) => forwarder.apply(plan(forward(port)))));
    expect(done()).toEqual(["net + 127.0.0.1:3", "net + [::1]:3"]);
  });

  test("a place that is taken fails the forward, and is an error once", async () => {
    taken.set("127.0.0.1:1", "failed");
    await forwarder.apply(plan(forward(1)));
    expect(done()).toEqual([]);
    expect(told()).toEqual([["failed", "127.0.0.1:1", "127.0.0.1:1 is taken"]]);
    expect(forwarder.errors()).toEqual([
      "Cannot forward TCP 127.0.0.1:1 to 0.0.0.0:1: 127.0.0.1:1 is taken",
    ]);
    expect(forwarder.rows()).toEqual([
      {
        protocol: "tcp",
        guest: "0.0.0.0:1",
        host: "127.0.0.1:1",
        bound: [],
        via: "network",
        state: "failed",
        error: "127.0.0.1:1 is taken",
      },
    ]);
    // it was never forwarded, so it does not stop
    await forwarder.apply(plan());
    expect([done(), told()]).toEqual([[], []]);
  });

  test("a place that is usually taken is no error", async () => {
    taken.set("127.0.0.1:1", "not-forwarding");
    await forwarder.apply(plan(forward(1)));
    expect(told()).toEqual([["not-forwarding", "127.0.0.1:1", "127.0.0.1:1 is taken"]]);
    expect(forwarder.errors()).toEqual([]);
    expect(forwarder.rows()).toMatchObject([{ state: "not-forwarding" }]);
  });

  test("the half that fails is said, and the other one stays", async () => {
    taken.set("[::1]:1", "failed");
    await forwarder.apply(plan(forward(1)));
    const error = "only 127.0.0.1:1 is bound, not [::1]:1: [::1]:1 is taken";
    expect(told()).toEqual([["forwarding", "127.0.0.1:1", error]]);
    expect(forwarder.errors()).toEqual([`Cannot forward TCP 127.0.0.1:1 to 0.0.0.0:1: ${error}`]);
    expect(forwarder.rows()).toMatchObject([
      { bound: ["127.0.0.1:1"], state: "forwarding", error },
    ]);
    done();
    await forwarder.apply(plan());
    expect(done()).toEqual(["net - 127.0.0.1:1"]);
  });

  test("what has failed is tried again, and told when it succeeds", async () => {
    taken.set("127.0.0.1:1", "failed");
    await forwarder.apply(plan(forward(1), forward(2)));
    told();
    done();
    await forwarder.retryFailed();
    expect([done(), told()]).toEqual([[], []]);
    taken.clear();
    await forwarder.retryFailed();
    expect(done()).toEqual(["net + 127.0.0.1:1", "net + [::1]:1"]);
    expect(told()).toEqual([["forwarding", "127.0.0.1:1", undefined]]);
  });

  test("what ssh carried is made again after its connection was broken, the rest is left alone", async () => {
    await forwarder.apply(plan(forward(1), forward(2, "ssh")));
    done();
    told();
    await forwarder.restoreSsh();
    expect(done()).toEqual([
      "ssh - 127.0.0.1:2",
      "ssh - [::1]:2",
      "ssh + 127.0.0.1:2",
      "ssh + [::1]:2",
    ]);
    expect(told()).toEqual([]);
  });

  test("what is refused is told once for as long as it stands", async () => {
    const refused = {
      protocol: "tcp",
      guest: "0.0.0.0:22",
      why: "a rule says so",
      silent: false,
    } as const;
    const silent = {
      protocol: "udp",
      guest: "0.0.0.0:68",
      why: "a rule says so",
      silent: true,
    } as const;
    const withRefused = { ...plan(), refused: [refused, silent] };
    await forwarder.apply(withRefused);
    await forwarder.apply(withRefused);
    expect(told()).toEqual([["not-forwarding", undefined, "a rule says so"]]);
    expect(forwarder.rows()).toMatchObject([{ guest: "0.0.0.0:22", state: "not-forwarding" }]);
    await forwarder.apply(plan());
    await forwarder.apply(withRefused);
    expect(told()).toEqual([["not-forwarding", undefined, "a rule says so"]]);
  });

  test("what waits is listed", async () => {
    await forwarder.apply({
      ...plan(),
      waiting: [{ protocol: "any", guest: "127.0.0.1:80", host: "127.0.0.1:8080" }],
    });
    expect(forwarder.rows()).toEqual([
      {
        protocol: "any",
        guest: "127.0.0.1:80",
        host: "127.0.0.1:8080",
        bound: [],
        state: "waiting",
      },
    ]);
  });

  test("close() ends everything, and nothing is made afterwards", async () => {
    void forwarder.apply(plan(forward(1), forward(2, "ssh")));
    await forwarder.close();
    await forwarder.apply(plan(forward(3)));
    await forwarder.retryFailed();
    const open = new Set<string>();
    for (const line of done()) {
      const [name, sign, local] = line.split(" ") as [string, string, string];
      if (sign === "+") open.add(`${name} ${local}`);
      else open.delete(`${name} ${local}`);
    }
    expect([...open]).toEqual([]);
  });
});
