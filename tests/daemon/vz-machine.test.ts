/** A vz machine of the host agent: the library's own source on a fake of Apple's frameworks, and networks that are real. */
import { afterEach, beforeEach, expect, mock, setDefaultTimeout, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { parseInstance } from "../../lib/config/instance.ts";
import { instancePaths, type InstancePaths } from "../../lib/config/paths.ts";
import { powerDown, startMachine, type Machine } from "../../lib/daemon/machine.ts";
import type { NetworkService } from "../../lib/daemon/network/network-service.ts";
import type { Nic, SwitchBackend } from "../../lib/driver/nic.ts";
import { passedPair } from "../../lib/host/datagram-pair.ts";
import { libc } from "../../lib/host/libc.ts";
import { isLocked } from "../../lib/host/lock.ts";
import { SILENT } from "../../lib/trace/log.ts";
import { startDescriptorNetwork } from "../support/descriptor-network.ts";
import { fakeVz } from "../support/fake-vz.ts";

const { VZ_CALLS } = await import("../../lib/host/vz-library.ts");
void mock.module("../../lib/host/vz-library.ts", () => ({ VZ_CALLS, vzLibrary: fakeVz }));

setDefaultTimeout(30_000);

let home: string;
let paths: InstancePaths;
let service: NetworkService;
let running: Machine | undefined;
/** another guest's port of the switch */
let port: number | undefined;
const at = (name: string) => `${home}/${name}`;

beforeEach(async () => {
  home = mkdtempSync(`${tmpdir()}/vz-`);
  paths = instancePaths(home, "vm");
  mkdirSync(paths.dir);
  for (const path of [at("kernel"), paths.cidata]) writeFileSync(path, "octets");
  service = await startDescriptorNetwork(home);
});
afterEach(async () => {
  await running?.end();
  running = undefined;
  closePort();
  await service.close();
  rmSync(home, { recursive: true, force: true });
});

function closePort(): void {
  if (port !== undefined) closeSync(port);
  port = undefined;
}

const card = (absence: SwitchBackend["absence"]): Nic => ({
  mac: "52:55:55:00:00:01",
  backend: { kind: "switch", network: "lab", stream: at("s"), descriptors: at("fd.sock"), absence },
});
const NAT: Nic = { mac: "52:55:55:00:00:03", backend: { kind: "nat" } };

async function start(nics: Nic[], more = ""): Promise<Machine> {
  const image = `{arch: x86_64, kernel: {location: ${at("kernel")}, cmdline: "${more}"}, initrd: {location: ${at("kernel")}}}`;
  const { config } = parseInstance(`vmType: vz\nimages: [${image}]\n`, "lima.yaml");
  running = await startMachine({ paths, config: config!, name: "vm", nics, log: SILENT });
  return running;
}

const broadcast = (words: string) =>
  Buffer.concat([
    Buffer.from("ffffffffffff525555aabbcc88b5", "hex"),
    Buffer.from(words.padEnd(46)),
  ]);
/** A broadcast frame from the other guest. */
function say(words: string): void {
  port ??= passedPair(at("fd.sock"));
  const frame = broadcast(words);
  libc.write(port, frame, frame.length);
}
/** Says it until the guest, which sends back all that it gets, has sent it back. */
async function echoed(words: string): Promise<void> {
  const frame = new Uint8Array(2000);
  for (;;) {
    say(words);
    await Bun.sleep(20);
    for (let got; (got = Number(libc.read(port!, frame, 2000))) > 0;)
      if (new TextDecoder().decode(frame.subarray(14, got)).startsWith(words)) return;
  }
}
/** The switch ends, and begins anew. */
async function restartSwitch(): Promise<void> {
  await service.close();
  closePort();
  service = await startDescriptorNetwork(home);
}

test("a machine runs, is locked, is on its network, and powers down in order", async () => {
  const machine = await start([card("never"), NAT]);
  expect(machine.description).toContain("Virtualization.framework");
  expect(isLocked(paths.machineLock)).toBe(true);
  expect(readFileSync(paths.vzPid, "utf8")).toBe(`${process.pid}\n`);
  await echoed("first");
  closeSync(await machine.connectVsock!(22));
  await expect(machine.connectVsock!(23)).rejects.toThrow("The connection was reset.");
  await powerDown(machine, paths, "vm");
  expect(await machine.ended).toBe("");
  await machine.end();
  expect(readFileSync(paths.serialLog, "utf8")).toBe("console\n");
  expect(isLocked(paths.machineLock)).toBe(false);
  expect(existsSync(paths.vzPid)).toBe(false);
});

test("a guest that does not listen to its button loses its plug", async () => {
  const machine = await start([], "fake.deaf");
  await machine.pressPowerButton();
  await machine.end();
  expect(await machine.ended).toBe("");
});

test("a guest that crashes is told of, with the last lines of its console", async () => {
  const machine = await start([card("never")]);
  await echoed("up");
  say("FAIL");
  expect(await machine.ended).toBe(
    "The virtual machine ended unexpectedly: The guest crashed.\nlast lines of its console:\nconsole",
  );
});

test("a card whose attachment breaks is attached anew", async () => {
  await start([NAT, card("never")]);
  await echoed("before");
  say("LOST");
  await echoed("after");
});

test("a card whose switch went without a word is attached anew to the next one", async () => {
  await start([card("unnoticed")]);
  for (const words of ["before", "after", "once more"]) {
    await echoed(words);
    await restartSwitch();
  }
  await echoed("at last");
});

test("a card whose network is told to be there again is attached anew, and no other is", async () => {
  const machine = await start([card("told")]);
  await echoed("before");
  await restartSwitch();
  machine.networkReturned("another");
  machine.networkReturned("lab");
  await echoed("after");
});

/** A switch as socket_vmnet is one: a stream of frames, each with its length in front. */
function streamSwitch(path: string) {
  let received = Buffer.alloc(0);
  let guest: { write(octets: Buffer): number } | undefined;
  const server = Bun.listen({
    unix: path,
    socket: {
      open: (socket) => void (guest = socket),
      close: () => void (guest = undefined),
      data: (_socket, octets) => void (received = Buffer.concat([received, octets])),
    },
  });
  return {
    hasGuest: () => guest !== undefined,
    /** Says it until the guest has answered with the same words. */
    async echoed(words: string): Promise<void> {
      const frame = broadcast(words);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(frame.length);
      for (;;) {
        guest?.write(Buffer.concat([length, frame]));
        await Bun.sleep(20);
        while (received.length >= 4 && received.length >= 4 + received.readUInt32BE()) {
          const answer = received.subarray(4, 4 + received.readUInt32BE());
          received = received.subarray(4 + answer.length);
          if (answer.subarray(14).toString().startsWith(words)) return;
        }
      }
    },
    stop: () => server.stop(true),
  };
}

test("a card on a switch that speaks streams only has a relay, again after the switch was away", async () => {
  const path = at("vmnet.sock");
  let vmnet = streamSwitch(path);
  const backend = { ...card("unnoticed").backend, stream: path, descriptors: at("none") };
  await start([card("never"), { ...NAT, backend } as Nic]);
  await vmnet.echoed("by stream");
  await vmnet.echoed("x".repeat(1400));
  vmnet.stop();
  rmSync(path, { force: true });
  vmnet = streamSwitch(path);
  await vmnet.echoed("once more");
  // what the one switch says does not reach the other
  await echoed("by datagrams");
  await running!.end();
  while (vmnet.hasGuest()) await Bun.sleep(5);
  vmnet.stop();
});

test("a machine that waits for its switch can be ended", async () => {
  const machine = await start([card("told")]);
  await echoed("before");
  await service.close();
  machine.networkReturned("lab");
  await Bun.sleep(50);
  await machine.end();
  expect(isLocked(paths.machineLock)).toBe(false);
});

test("a second machine of the instance is refused, and the first goes on", async () => {
  await start([card("never")]);
  await expect(start([])).rejects.toThrow(
    /^Cannot start the virtual machine: one of this instance/,
  );
  await echoed("still there");
});

test.each<[string, Nic[], string, RegExp]>([
  [
    "no switch",
    [{ ...NAT, backend: { ...card("told").backend, descriptors: "/nowhere" } as SwitchBackend }],
    "",
    /^Cannot connect to \/nowhere: ENOENT/,
  ],
  [
    "no switch of either kind",
    [
      {
        ...NAT,
        backend: { ...card("unnoticed").backend, descriptors: "/nowhere" } as SwitchBackend,
      },
    ],
    "",
    /^Cannot attach to the network lab: nobody answers at .*\/s \(ENOENT\)/,
  ],
  ["QEMU's own network", [{ ...NAT, backend: { kind: "slirp", sshPort: 1 } }], "", /vmType: qemu$/],
  [
    "a framework that fails",
    [],
    "fake.broken",
    /^Cannot start the virtual machine: The virtual machine failed to start. It is broken.$/,
  ],
  [
    "no MAC address",
    [{ ...NAT, mac: "x" }],
    "",
    /^Cannot start the virtual machine: A network card has no MAC/,
  ],
])("with %s nothing is left behind", async (_, nics, more, sentence) => {
  await expect(start([card("never"), ...nics], more)).rejects.toThrow(sentence);
  expect(isLocked(paths.machineLock)).toBe(false);
  expect(existsSync(paths.vzPid)).toBe(false);
  // a switch notices that a card is gone when it has a frame for it; then only the port we speak at is left
  const ports = async () => (await service.engine.request({ type: "stats" }))["ports"];
  do say("anybody?");
  while ((await ports()) !== 1);
});

test("a qcow2 disk is refused, with the command that makes it raw", async () => {
  writeFileSync(paths.disk, "QFI\xfb", "latin1");
  const image = `{arch: x86_64, location: ${at("kernel")}}`;
  const { config } = parseInstance(`vmType: vz\nimages: [${image}]\n`, "lima.yaml");
  const settings = { paths, config: config!, name: "vm", nics: [], log: SILENT };
  await expect(startMachine(settings)).rejects.toThrow(`qemu-img convert -O raw ${paths.disk}`);
});
