/**
 * The executable's daemon in a network namespace, of a user-mode network or (third word: vmnet) of a shared one: mangled frames
 * go in by a guest's socket, as fast as they are taken, while two guests with Linux's own stack check every octet that they
 * exchange with each other and with the outside, or with the host. Called by scripts/fuzz.
 */
import { readFileSync } from "node:fs";
import { FAR_ADDRESS, Lab, NETTOOL, type Guest, type Space } from "../support/lab.ts";
import { RawGuest } from "../support/raw-guest.ts";
import { SHARED, VMNET_GATEWAY, VmnetLab } from "../support/vmnet-lab.ts";
import { Dice } from "./dice.ts";
import { NetworkTarget } from "./network-target.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);
const complain = (line: string) => process.stderr.write(`${line}\n`);

const [count = "5000000", given = "", kind = "usernet"] = process.argv.slice(2);
const seed = Number(given) || Date.now() % 2 ** 31;
const ECHO = 7001;
/** frames of one write */
const BURST = 64;
/** frames that are made; each is sent again and again, often with one octet changed */
const KINDS = 20_000;

interface Place {
  readonly pid: number;
  readonly log: string;
  /** of the first three numbers */
  subnet: string;
  socket: string;
  /** beside the guests: who else they talk to */
  other: Space;
  otherAddress: string;
  isAlive(): boolean;
  guest(): Promise<Guest>;
  framesReceived(): Promise<number>;
  close(): Promise<void>;
}

async function usernet(): Promise<Place> {
  const lab = await Lab.open();
  return {
    pid: lab.pid,
    get log() {
      return lab.log;
    },
    subnet: "192.168.104.",
    socket: lab.socket("stream"),
    other: lab.far,
    otherAddress: FAR_ADDRESS,
    isAlive: () => lab.isAlive,
    guest: () => lab.guest(),
    framesReceived: async () => (await lab.stats())["framesReceived"]!,
    close: () => lab.close(),
  };
}

async function vmnet(): Promise<Place> {
  const lab = await VmnetLab.open();
  const daemon = await lab.start(...SHARED);
  return {
    pid: lab.pid,
    get log() {
      return lab.log;
    },
    subnet: "192.168.105.",
    socket: lab.socket,
    other: lab.host,
    otherAddress: VMNET_GATEWAY,
    isAlive: () => daemon.exitCode === null && daemon.signalCode === null,
    guest: () => lab.guest(),
    framesReceived: async () => (await lab.statistics())("framesReceived"),
    close: () => lab.close(),
  };
}

const lab = await (kind === "vmnet" ? vmnet() : usernet());
let failed = false;
try {
  const { other, otherAddress } = lab;
  await other.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), otherAddress);
  const guests = [await lab.guest(), await lab.guest()];
  const addresses = await Promise.all(guests.map(async (guest) => (await guest.dhcp())["ip"]));
  const first = addresses[0]!;
  await guests[0]!.serve("tcp", ECHO, NETTOOL, "serve", String(ECHO), first);
  const mallory = new RawGuest(lab.socket);
  const dice = new Dice(seed);
  const frames = NetworkTarget.frames(dice, KINDS, lab.subnet);

  const memory: number[] = [];
  let sent = 0;
  let talking = true;
  /** new connections all the time, each of which carries a pattern there and back */
  const talk = async (to: string) => {
    let whole = 0;
    while (talking) {
      const { stdout, stderr } = await guests[1]!.run(
        "python3",
        "-c",
        `
import socket, os
said = os.urandom(200000)
c = socket.create_connection(("${to}", ${ECHO}), 10)
c.settimeout(20)
heard = b""
for at in range(0, len(said), 5000):
    c.sendall(said[at:at + 5000])
    while len(heard) < at + 5000:
        piece = c.recv(65536)
        if not piece: raise SystemExit("closed at %d" % len(heard))
        heard += piece
print("whole" if heard == said else "changed")`,
      );
      if (stdout !== "whole\n")
        throw new Error(`a conversation with ${to} went wrong: ${stdout}${stderr}`);
      whole++;
    }
    return whole;
  };
  const conversations = Promise.all([talk(first), talk(otherAddress)]);
  conversations.catch(() => (failed = true));
  const started = performance.now();
  while (sent < Number(count) && !failed && lab.isAlive()) {
    const burst = Array.from({ length: BURST }, () => {
      const frame = dice.pick(frames);
      if (frame.length === 0 || !dice.chance(0.3)) return frame;
      const changed = frame.slice();
      changed[dice.below(frame.length)] = dice.octet();
      return changed;
    });
    await mallory.send(...burst);
    sent += BURST;
    if (sent % (BURST * 100) === 0)
      memory.push(
        Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${lab.pid}/status`, "utf8"))![1]) >> 10,
      );
  }
  talking = false;
  const seconds = (performance.now() - started) / 1000;
  const whole = await conversations;
  const received = await lab.framesReceived();
  mallory.close();
  const part = Math.max(1, memory.length >> 2);
  const mean = (of: number[]) => Math.round(of.reduce((a, b) => a + b, 0) / of.length);
  say(
    `${sent} frames into the daemon (${kind}) in ${seconds.toFixed(0)} s, seed ${seed}: ${whole.reduce((a, b) => a + b, 0)} conversations of 400,000 octets beside, all whole; ` +
      `memory ${mean(memory.slice(part, 2 * part))} MiB in the second quarter, ${mean(memory.slice(-part))} MiB in the last`,
  );
  if (received < sent) throw new Error(`the daemon has taken ${received} frames of them`);
} catch (error) {
  failed = true;
  complain(`FAIL the daemon, seed ${seed}: ${(error as Error).stack}\n${lab.log.slice(-2000)}`);
} finally {
  await lab.close();
}
process.exit(failed ? 1 : 0);
