/**
 * Forwards that ssh carries through an instance's control master: to what only a program inside the guest can reach, and
 * from the guest's sockets to the host's (specification, section 17.6).
 */
import { hostnameOf } from "../../config/names.ts";
import type { InstancePaths } from "../../config/paths.ts";
import { shellWord } from "../../guest/shell-word.ts";
import { remove } from "../../host/files.ts";
import { runCommand } from "../../host/process.ts";
import { removeStaleStreamSocket } from "../../host/listening-sockets.ts";
import { inGuest } from "../guest-access.ts";

const LIMIT_MS = 5000;

export class SshForwards {
  readonly #paths: InstancePaths;
  readonly #name: string;

  constructor(paths: InstancePaths, name: string) {
    this.#paths = paths;
    this.#name = name;
  }

  /** An endpoint or a socket of the host leads to one of the guest. */
  async open(local: string, target: string): Promise<void> {
    // ssh itself would not look what stands there
    if (local.startsWith("/")) removeStaleStreamSocket(local);
    await this.#control("forward", "-L", `${local}:${target}`);
  }

  async close(local: string, target: string): Promise<void> {
    await this.#control("cancel", "-L", `${local}:${target}`);
    // ssh leaves it behind
    if (local.startsWith("/")) remove(local);
  }

  /** A socket of the guest leads to one of the host. */
  async openReverse(guest: string, host: string): Promise<void> {
    const path = shellWord(guest);
    // what a run before this one has left; anything else than a socket stays
    await inGuest(this.#paths, this.#name, `if test -S ${path}; then rm -f ${path}; fi`);
    await this.#control("forward", "-R", `${guest}:${host}`);
  }

  async closeReverse(guest: string, host: string): Promise<void> {
    await this.#control("cancel", "-R", `${guest}:${host}`);
  }

  async #control(verb: "forward" | "cancel", ...words: string[]): Promise<void> {
    const ssh = ["ssh", "-F", this.#paths.sshConfig];
    const host = hostnameOf(this.#name);
    let outcome = await runCommand([...ssh, "-O", verb, ...words, host], LIMIT_MS);
    if (outcome.code !== 0 && /Control socket connect/.test(outcome.stderr)) {
      // the master has ended, and its forwards with it; any command makes a new one
      if (verb === "cancel") return;
      await inGuest(this.#paths, this.#name, "true");
      outcome = await runCommand([...ssh, "-O", verb, ...words, host], LIMIT_MS);
    }
    if (outcome.code !== 0)
      throw new Error(`ssh says: ${outcome.stderr.trim().split("\n").at(-1) ?? ""}`);
  }
}
