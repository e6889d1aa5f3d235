/**
 * How far a start has come: a line for each stage that is reached, with the time since the beginning. Where that can be
 * drawn, a last line tells which stage is awaited, and how many are behind it; it goes when the start ends.
 */
import { monotonicMs } from "../host/clock.ts";
import { isDrawable, writeError, writeOut } from "../host/terminal.ts";

const REDRAW_MS = 100;

export class StageDisplay {
  readonly #begun = monotonicMs();
  readonly #isJson: boolean;
  readonly #isLive: boolean;
  #drawnAt = -Infinity;

  constructor(isJson: boolean) {
    this.#isJson = isJson;
    this.#isLive = !isJson && isDrawable("error");
  }

  reached(stage: string, detail = ""): void {
    const elapsedMs = Math.round(monotonicMs() - this.#begun);
    if (this.#isJson) {
      writeOut(`${JSON.stringify({ stage, detail, elapsedMs })}\n`);
      return;
    }
    this.clear();
    writeError(`${time(elapsedMs)} ${stage}${detail === "" ? "" : `: ${detail}`}\n`);
  }

  /** Draws what is awaited, if it is time to do so again. */
  awaits(stage: string, behind: number, all: number): void {
    const now = monotonicMs();
    if (!this.#isLive || now - this.#drawnAt < REDRAW_MS) return;
    this.#drawnAt = now;
    const bar = "█".repeat(behind) + "░".repeat(all - behind);
    writeError(`${CLEAR_LINE}${time(now - this.#begun)} ${bar} waiting for ${stage}`);
  }

  /** Takes the last line away. */
  clear(): void {
    if (this.#drawnAt !== -Infinity) writeError(CLEAR_LINE);
    this.#drawnAt = -Infinity;
  }
}

/** ECMA-48: to the first column, and nothing is left on the line */
const CLEAR_LINE = "\r\u001B[2K";

const time = (ms: number): string => `[${(ms / 1000).toFixed(1).padStart(6)} s]`;
