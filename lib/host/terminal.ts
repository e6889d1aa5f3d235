/** What a person or a program reads: standard output and standard error. */
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { isatty } from "node:tty";

export function writeOut(text: string): void {
  writeAll(1, text);
}

export function writeError(text: string): void {
  writeAll(2, text);
}

/** what is odd and does not keep us from going on */
export const warn = (sentence: string): void => writeError(`${sentence}\n`);

/** A reader that has gone (a closed pipe) is not an error of ours. */
function writeAll(fd: number, text: string): void {
  const octets = new TextEncoder().encode(text);
  for (let at = 0; at < octets.length;) {
    try {
      at += writeSync(fd, octets, at);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "EAGAIN") continue;
      if (code === "EPIPE") return;
      throw error;
    }
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
