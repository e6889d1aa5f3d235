/** The host's end of native/vz.h, with the library's own source on native/fake in Apple's place. */
import { afterEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { vzConfiguration, type VzFacts } from "../../lib/driver/vz.ts";
import { libc } from "../../lib/host/libc.ts";
import { VzMachine } from "../../lib/host/vz.ts";
import { openPair } from "../../lib/host/datagram-pair.ts";
import { fakeVz } from "../support/fake-vz.ts";
import { until } from "../support/until.ts";

const library = fakeVz();
/** of an Ethernet frame, in which the fake guest changes the addresses only */
const HEADER = "fourteen octet";
const folder = mkdtempSync(`${tmpdir()}/vz-`);
const serial = openSync(`${folder}/serial.log`, "w");
for (const file of ["kernel", "disk", "cidata"]) writeFileSync(`${folder}/${file}`, file);
const FACTS: VzFacts = {
  cpus: 2,
  memory: 1024 ** 3,
  kernel: `${folder}/kernel`,
  initrd: undefined,
  cmdline: undefined,
  efiVariables: `${folder}/efi`,
  machineIdentifier: `${folder}/identifier`,
  disk: `${folder}/disk`,
  cidata: `${folder}/cidata`,
  serial,
  nics: [],
};
const machines: VzMachine[] = [];
const lost: [number, string][] = [];
function machine(facts: Partial<VzFacts> = {}): VzMachine {
  const made = new VzMachine(library, vzConfiguration({ ...FACTS, ...facts }), (nic, why) => {
    lost.push([nic, why]);
  });
  machines.push(made);
  return made;
}
afterEach(() => {
  for (const each of machines.splice(0)) each.close();
  lost.length = 0;
});
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const bytes = (text: string) => new TextEncoder().encode(text);
const send = (fd: number, text: string) =>
  expect(Number(libc.write(fd, bytes(text), text.length))).toBe(text.length);
function receive(fd: number): string {
  const buffer = new Uint8Array(2000);
  const got = Number(libc.read(fd, buffer, buffer.length));
  return got < 0 ? "nothing" : new TextDecoder().decode(buffer.subarray(0, got));
}
/** the payload that comes back for one */
async function answer(fd: number, frame: string): Promise<string> {
  send(fd, HEADER + frame);
  let got = "nothing";
  await until(() => (got = receive(fd)) !== "nothing");
  return got.slice(HEADER.length);
}
const card = (attachment: number | "nat", mtu = 1500) => ({
  mac: "52:55:55:00:00:01",
  mtu,
  attachment,
});

describe("VzMachine", () => {
  test("starts, writes its console, powers off when its button is pressed", async () => {
    const it = machine();
    await it.start();
    expect(readFileSync(`${folder}/serial.log`, "utf8")).toContain("console\n");
    it.pressPowerButton();
    expect(await it.ended).toBe("");
  });

  test("whose guest does not listen to the button is stopped", async () => {
    const it = machine({ cmdline: "fake.deaf" });
    await it.start();
    it.pressPowerButton();
    await it.stop();
    expect(await it.ended).toBe("");
    // it has ended already
    await it.stop();
  });

  test("boots by EFI, with variables and an identifier that stay", async () => {
    const facts = { kernel: undefined };
    await machine(facts).start();
    const identifier = readFileSync(`${folder}/identifier`, "utf8");
    expect(readFileSync(`${folder}/efi`, "utf8")).not.toBe("");
    await machine(facts).start();
    expect(readFileSync(`${folder}/identifier`, "utf8")).toBe(identifier);
  });

  test("that cannot start says why in one line, and has ended", async () => {
    const it = machine({ cmdline: "fake.broken" });
    await expect(it.start()).rejects.toThrow("The virtual machine failed to start. It is broken.");
    expect(await it.ended).toContain("It is broken.");
  });

  test.each<[string, Partial<VzFacts>, RegExp]>([
    ["too many CPUs", { cpus: 9 }, /^Invalid virtual machine configuration. The number of CPUs/],
    ["too little memory", { memory: 1024 ** 2 }, /The memory size/],
    ["no such disk", { disk: "/nowhere/disk" }, /^The disk image cannot be used. No such file/],
    ["an EFI file nowhere", { kernel: undefined, efiVariables: "/nowhere/efi" }, /variable store/],
    ["an identifier nowhere", { machineIdentifier: "/nowhere/id" }, /identifier cannot be written/],
    ["a damaged identifier", { machineIdentifier: `${folder}/kernel` }, /identifier is damaged/],
    ["a serial port that is not open", { serial: 9999 }, /^A descriptor of the configuration/],
    ["a card on a closed descriptor", { nics: [card(9999)] }, /^A descriptor/],
    ["a card on a file", { nics: [card(serial)] }, /^the file handle is no datagram socket$/],
    ["a card without address", { nics: [{ ...card("nat"), mac: "" }] }, /MAC address/],
    ["a card with half an address", { nics: [{ ...card("nat"), mac: "52:55" }] }, /MAC address/],
  ])("with %s is refused with the framework's words", (_, facts, sentence) => {
    expect(() => machine(facts)).toThrow(sentence);
  });

  test("has as many numbers as it gives back", () => {
    for (let i = 0; i < 100; i++) {
      const it = machine();
      it.close();
      machines.length = 0;
    }
    const many = Array.from({ length: 16 }, () => machine());
    expect(() => machine()).toThrow("EMFILE");
    for (const it of many) it.close();
    machines.length = 0;
  });

  test("carries frames of each card between its descriptor and the guest", async () => {
    const [a, b] = [openPair(), openPair()];
    const it = machine({ nics: [card(a.theirs), card("nat"), card(b.theirs, 9000)] });
    // the machine has descriptors of its own
    closeSync(a.theirs);
    closeSync(b.theirs);
    await it.start();
    expect(await answer(a.ours, "a frame of the first")).toBe("a frame of the first");
    expect(await answer(b.ours, "x".repeat(1900))).toBe("x".repeat(1900));
    closeSync(a.ours);
    closeSync(b.ours);
  });

  test("tells of a card that lost its network, and is attached anew", async () => {
    const [a, b] = [openPair(), openPair()];
    const it = machine({ nics: [card("nat"), card(a.theirs)] });
    await it.start();
    send(a.ours, HEADER + "LOST");
    await until(() => lost.length > 0);
    expect(lost).toEqual([[1, "The attachment broke."]]);
    it.attach(1, { attachment: b.theirs, mtu: 1500 });
    closeSync(b.theirs);
    expect(await answer(b.ours, "hello again")).toBe("hello again");
    it.attach(1, { attachment: "nat", mtu: 1500 });
    expect(() => it.attach(2, { attachment: "nat", mtu: 1500 })).toThrow("no such network card");
    expect(() => it.attach(1, { attachment: 9999, mtu: 1500 })).toThrow("not open");
    expect(() => it.attach(1, { attachment: serial, mtu: 1500 })).toThrow("no datagram socket");
    for (const fd of [a.theirs, a.ours, b.ours]) closeSync(fd);
  });

  test.each([
    ["HALT", ""],
    ["FAIL", "The guest crashed."],
  ])("whose guest sends %s has ended: %p", async (word, end) => {
    const pair = openPair();
    const it = machine({ nics: [card(pair.theirs)] });
    await it.start();
    send(pair.ours, HEADER + word);
    expect(await it.ended).toBe(end);
    for (const fd of [pair.theirs, pair.ours]) closeSync(fd);
  });

  test("connects to the guest by vsock: octets pass, refusals are told", async () => {
    const it = machine();
    await it.start();
    const [first, second, refused] = await Promise.allSettled([
      it.connect(22),
      it.connect(22),
      it.connect(23),
    ]);
    expect(refused).toMatchObject({ reason: { message: "The connection was reset." } });
    for (const each of [first, second]) {
      const fd = (each as PromiseFulfilledResult<number>).value;
      send(fd, "SSH-2.0");
      expect(receive(fd)).toBe("SSH-2.0");
      closeSync(fd);
    }
  });

  test("closed while it runs has ended, and a connection on the way fails", async () => {
    const it = machine();
    await it.start();
    const connection = it.connect(22);
    it.close();
    await expect(connection).rejects.toThrow("has ended");
    expect(await it.ended).toBe("it was closed");
  });

  test("whose number was another's before gets no events of that one, and keeps its own", async () => {
    for (let i = 0; i < 50; i++) {
      const it = machine();
      await it.start();
      const connection = it.connect(22);
      it.close();
      await expect(connection).rejects.toThrow("has ended");
    }
  });

  test("leaves no descriptor behind", async () => {
    const open = () => readdirSync("/proc/self/fd").length;
    const before = open();
    for (let i = 0; i < 5; i++) {
      const pair = openPair();
      const it = machine({ nics: [card(pair.theirs)] });
      await it.start();
      send(pair.ours, HEADER + "LOST");
      await until(() => lost.length > i);
      it.attach(0, { attachment: pair.theirs, mtu: 1500 });
      void it.connect(22).then(closeSync, () => {});
      await it.stop();
      it.close();
      for (const fd of [pair.theirs, pair.ours]) closeSync(fd);
    }
    await until(() => open() <= before);
  });
});
