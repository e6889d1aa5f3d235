/** Traffic that goes on while other things happen, and what became of it (load.py). */
import { join } from "node:path";
import type { Space } from "../support/lab.ts";

const SCRIPT = join(import.meta.dir, "load.py");

export type Outcome = "whole" | "reset" | "lost" | "failed" | "changed";

/** One stream of traffic; counts its outcomes. */
export class Load {
  readonly name: string;
  readonly counts: Record<Outcome, number> = { whole: 0, reset: 0, lost: 0, failed: 0, changed: 0 };
  readonly #child: ReturnType<Space["spawn"]>;
  #over = false;

  constructor(name: string, space: Space, ...words: string[]) {
    this.name = name;
    this.#child = space.spawn("python3", SCRIPT, ...words);
    void this.#count();
  }

  async #count(): Promise<void> {
    let rest = "";
    for await (const chunk of this.#child.stdout) {
      const lines = (rest + new TextDecoder().decode(chunk)).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.counts[line as Outcome]++;
    }
    if (!this.#over)
      throw new Error(`${this.name}: ${await new Response(this.#child.stderr).text()}`);
  }

  /** Resolves when one more has come through whole. */
  async goesOn(): Promise<void> {
    const { whole } = this.counts;
    while (this.counts.whole === whole) await Bun.sleep(20);
  }

  async stop(): Promise<void> {
    this.#over = true;
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}

/** Starts an echo server for it. */
export const serveEcho = (space: Space, address: string, port: number) =>
  space.serve("tcp", port, "python3", SCRIPT, "serve", address, String(port));

/** "12 whole, 3 reset" */
export const told = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([outcome, count]) => `${count} ${outcome}`)
    .join(", ");
