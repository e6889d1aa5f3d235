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

/** One line that a person types; undefined when there is no more. */
export async function readAnswer(question: string): Promise<string | undefined> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await new Promise((resolve) => {
      lines.once("close", () => resolve(undefined));
      lines.question(question, resolve);
    });
  } finally {
    lines.close();
  }
}
