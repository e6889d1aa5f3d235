/** A process that is given a text and answers in lines. */
import { childEnvironment } from "./process.ts";

export interface LineProcess {
  /** its output line by line; the reader sets the pace */
  lines: AsyncGenerator<string, void>;
  /** the exit code, or the signal's name */
  exited: Promise<number | string>;
  /** the last it said on standard error */
  complaint(): string;
  kill(): void;
}

const MAX_COMPLAINT = 1000;

/** Starts it; of lines longer than `maxLine` octets the rest is dropped. */
export function startLineProcess(
  command: readonly string[],
  input: string,
  maxLine: number,
): LineProcess {
  const child = Bun.spawn([...command], {
    stdin: new Blob([input]),
    stdout: "pipe",
    stderr: "pipe",
    env: childEnvironment(),
  });
  let complaint = "";
  void (async () => {
    const decoder = new TextDecoder();
    for await (const octets of child.stderr)
      complaint = (complaint + decoder.decode(octets, { stream: true })).slice(-MAX_COMPLAINT);
  })();
  return {
    lines: boundedLines(child.stdout, maxLine),
    exited: child.exited.then((code) => child.signalCode ?? code),
    complaint: () => complaint.trim(),
    kill: () => child.kill("SIGKILL"),
  };
}

const NEWLINE = 10;

async function* boundedLines(
  stream: ReadableStream<Uint8Array>,
  maxLine: number,
): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  const line = new Uint8Array(maxLine);
  let length = 0;
  for await (const octets of stream) {
    for (let at = 0; at < octets.length;) {
      const newline = octets.indexOf(NEWLINE, at);
      const end = newline < 0 ? octets.length : newline;
      const piece = octets.subarray(at, Math.min(end, at + maxLine - length));
      line.set(piece, length);
      length += piece.length;
      at = end + 1;
      if (newline < 0) continue;
      yield decoder.decode(line.subarray(0, length));
      length = 0;
    }
  }
}
