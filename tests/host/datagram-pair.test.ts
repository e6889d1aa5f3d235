/** One end of a pair handed to an engine's real socket, which serves it as any other guest's. */
import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAnswered, openPair, passedPair } from "../../lib/host/datagram-pair.ts";
import { libc } from "../../lib/host/libc.ts";
import { GATEWAY, GATEWAY_MAC, startDescriptorNetwork } from "../support/descriptor-network.ts";
import { arp, describe as describeFrame, ethernet } from "../support/injected-frames.ts";

const MAC = "52:55:55:aa:bb:cc";
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const folder = mkdtempSync(`${tmpdir()}/pair-`);
const descriptors = `${folder}/fd.sock`;
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const question = ethernet(
  BROADCAST,
  MAC,
  "0806",
  arp({
    operation: 1,
    sha: MAC,
    spa: "10.213.7.15",
    tha: "00:00:00:00:00:00",
    tpa: GATEWAY,
  }),
);

test("passedPair() gives a guest's end; what is there or gone is told", async () => {
  const service = await startDescriptorNetwork(folder);
  const fd = passedPair(descriptors);
  libc.write(fd, question, question.length);
  const frame = new Uint8Array(2000);
  let got = -1;
  while (got < 0) {
    await Bun.sleep(5);
    got = Number(libc.read(fd, frame, frame.length));
  }
  expect(describeFrame(frame.slice(0, got))).toContain(`arp reply ${GATEWAY} is ${GATEWAY_MAC}`);
  expect(isAnswered(fd)).toBe(true);
  await service.close();
  while (isAnswered(fd)) await Bun.sleep(5);
  closeSync(fd);
  expect(() => passedPair(descriptors)).toThrow(`Cannot connect to ${descriptors}`);
});

test("isAnswered() takes an end that does not read for one that is there", () => {
  const { ours, theirs } = openPair();
  for (let i = 0; i < 5000; i++) expect(isAnswered(ours)).toBe(true);
  closeSync(theirs);
  expect(isAnswered(ours)).toBe(false);
  closeSync(ours);
});
