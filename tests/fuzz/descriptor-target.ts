/**
 * Guests that hand over an end of a pair of datagram sockets, and who hands over anything else: frames of every kind and length
 * go in, and another guest's question is answered after each lot.
 */
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NetworkService } from "../../lib/daemon/network/network-service.ts";
import { openPair, passedPair } from "../../lib/host/datagram-pair.ts";
import { sendDescriptor } from "../../lib/host/descriptor-sending.ts";
import { openSocketPair } from "../../lib/host/descriptors.ts";
import { libc, MSG_DONTWAIT, SOCK_STREAM } from "../../lib/host/libc.ts";
import { connectUnix } from "../../lib/host/unix-connection.ts";
import { GATEWAY, startDescriptorNetwork } from "../support/descriptor-network.ts";
import { arp, describe, ethernet } from "../support/injected-frames.ts";
import type { Dice, Target } from "./dice.ts";
import { NetworkTarget } from "./network-target.ts";

const HONEST = "52:55:55:aa:bb:cc";
const QUESTION = ethernet(
  "ff:ff:ff:ff:ff:ff",
  HONEST,
  "0806",
  arp({ operation: 1, sha: HONEST, spa: "10.213.7.99", tpa: GATEWAY }),
);
/** for an answer on a busy machine; nothing is measured by it */
const PATIENCE_MS = 20_000;

export class DescriptorTarget implements Target {
  readonly name = "descriptors of datagram sockets";
  readonly unit = "descriptors";
  readonly batch = 1;
  readonly #folder = mkdtempSync(join(tmpdir(), "limanet-fuzz-"));
  readonly #path = join(this.#folder, "fd.sock");
  #service: NetworkService | undefined;
  #honest = -1;

  async round(dice: Dice): Promise<void> {
    if (this.#service === undefined) {
      this.#service = await startDescriptorNetwork(this.#folder);
      this.#honest = passedPair(this.#path);
    }
    if (dice.chance(0.4)) this.#handOverAnything(dice);
    else this.#attack(dice);
    await this.#isServed();
  }

  /** A card that says anything, until it is closed in the midst of it. */
  #attack(dice: Dice): void {
    const card = passedPair(this.#path);
    for (const frame of NetworkTarget.frames(dice, 32, "10.213.7.")) {
      const octets = dice.chance(0.05) ? dice.octets(dice.pick([0, 1, 13, 9000, 65_000])) : frame;
      libc.write(card, octets.length === 0 ? new Uint8Array(1) : octets, octets.length);
    }
    closeSync(card);
  }

  #handOverAnything(dice: Dice): void {
    const connection = connectUnix(this.#path);
    const octets = dice.octets(1 + dice.below(300));
    switch (dice.below(5)) {
      case 0:
        break;
      case 1:
        libc.write(connection, octets, octets.length);
        break;
      case 2: {
        const file = openSync("/dev/null", "r");
        sendDescriptor(connection, file);
        closeSync(file);
        break;
      }
      case 3: {
        const pair = openSocketPair(SOCK_STREAM) as [number, number];
        sendDescriptor(connection, pair[0]);
        for (const fd of pair) closeSync(fd);
        break;
      }
      default: {
        // several cards, and octets between them
        const { ours, theirs } = openPair();
        for (let n = dice.below(4); n >= 0; n--) {
          sendDescriptor(connection, theirs);
          libc.write(connection, octets, octets.length);
        }
        for (const fd of [ours, theirs]) closeSync(fd);
      }
    }
    libc.close(connection);
  }

  async #isServed(): Promise<void> {
    const frame = new Uint8Array(70_000);
    const end = performance.now() + PATIENCE_MS;
    libc.write(this.#honest, QUESTION, QUESTION.length);
    while (performance.now() < end) {
      const got = Number(libc.recv(this.#honest, frame, frame.length, MSG_DONTWAIT));
      if (got >= 42 && describe(frame.slice(0, got)).startsWith(`arp reply ${GATEWAY}`)) return;
      if (got < 0) await Bun.sleep(1);
    }
    throw new Error("the honest guest is not answered");
  }

  async close(): Promise<void> {
    await this.#service?.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
