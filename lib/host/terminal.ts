/** What a person or a program reads: standard output and standard error. */
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { isatty } from "node:tty";

export function writeOut(text: string): void {
  writeAll(1, text);
}

/** octets that wait for room on a disk; more are lost, and counted */
const MAX_WAITING = 64 * 1024;
const RETRY_MS = 1000;

/** A file that tells what a daemon does. That its disk is full is no reason to stop: what it does not take waits for room. */
class PatientOutput {
  readonly #fd: number;
  #waiting: Uint8Array[] = [];
  #octets = 0;
  #lost = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(text: string): void {
    const octets = new TextEncoder().encode(text);
    if (this.#octets + octets.length > MAX_WAITING) {
      this.#lost++;
      return;
    }
    this.#waiting.push(octets);
    this.#octets += octets.length;
    if (this.#waiting.length === 1) this.#flush();
  }

  #flush(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      let at = 0;
      try {
        while (at < first.length) at += writeAvailable(this.#fd, first, at);
      } catch {
        this.#waiting[0] = first.subarray(at);
        this.#octets -= at;
        setTimeout(() => this.#flush(), RETRY_MS).unref();
        return;
      }
      this.#waiting.shift();
      this.#octets -= first.length;
    }
    const lost = this.#lost;
    this.#lost = 0;
    if (lost > 0) this.write(`${JSON.stringify({ lost, why: "there was no room for them" })}\n`);
  }
}

const errors = new PatientOutput(2);
const events = new PatientOutput(1);

export const writeError = (text: string): void => errors.write(text);

/** standard output as a list of what has happened, a line each, that somebody may read later */
export const writeEvent = (text: string): void => events.write(text);

/** what is odd and does not keep us from going on */
export const warn = (sentence: string): void => writeError(`${sentence}\n`);

function writeAll(fd: number, text: string): void {
  const octets = new TextEncoder().encode(text);
  for (let at = 0; at < octets.length;) at += writeAvailable(fd, octets, at);
}

/** How much was taken of the octets from `at` on. A reader that has gone (a closed pipe) is not an error of ours. */
function writeAvailable(fd: number, octets: Uint8Array, at: number): number {
  try {
    return writeSync(fd, octets, at);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "EAGAIN") return 0;
    if (code === "EPIPE") return octets.length - at;
    throw error;
  }
}

/** a person sits at this stream */
export const isTerminal = (stream: "in" | "out" | "error"): boolean =>
  isatty({ in: 0, out: 1, error: 2 }[stream]);

/** may this stream be drawn on: a terminal, and one that knows how to (TERM) */
export function isDrawable(stream: "out" | "error"): boolean {
  const { TERM = "" } = process.env;
  return isTerminal(stream) && TERM !== "" && TERM !== "dumb";
}

export type Colours = Record<"red" | "yellow" | "green" | "bold", (text: string) => string>;

/** ECMA-48's "select graphic rendition" */
const RENDITIONS = { red: 31, yellow: 33, green: 32, bold: 1 } as const;

/** Colours for a stream: none where nobody wants any (NO_COLOR, no-color.org, which counts when it is not empty). */
export function colours(stream: "out" | "error"): Colours {
  const { NO_COLOR = "" } = process.env;
  const isOn = isDrawable(stream) && NO_COLOR === "";
  const painter = (rendition: number) => (text: string) =>
    isOn ? `\x1b[${rendition}m${text}\x1b[0m` : text;
  const { red, yellow, green, bold } = RENDITIONS;
  return { red: painter(red), yellow: painter(yellow), green: painter(green), bold: painter(bold) };
}

/** Puts a question and gives the line that a person types; undefined when there are no more. */
export type ReadAnswer = (question: string) => Promise<string | undefined>;

/** A conversation: what is typed before it is asked for answers the next question. */
export async function converse<Result>(
  talk: (read: ReadAnswer) => Promise<Result>,
): Promise<Result> {
  // the system's own line editing is enough
  const lines = createInterface({ input: process.stdin, terminal: false });
  const typed = lines[Symbol.asyncIterator]();
  try {
    return await talk(async (question) => {
      writeError(question);
      const { value, done } = await typed.next();
      return done === true ? undefined : value;
    });
  } finally {
    lines.close();
  }
}
