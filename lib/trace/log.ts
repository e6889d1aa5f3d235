/** One line an event: lower-case words, then key=value. A level that is switched off is undefined, so that `log.debug?.(…)` costs nothing. */
export type Level = "error" | "warn" | "info" | "debug";

export interface Log {
  error: (line: string) => void;
  warn: (line: string) => void;
  info?: (line: string) => void;
  debug?: (line: string) => void;
}

/** for work that nobody watches */
export const SILENT: Log = { error() {}, warn() {} };

const ORDER: readonly Level[] = ["error", "warn", "info", "debug"];

/** Writes lines as text or JSON; `time` gives the Unix time in milliseconds. */
export function lineLog(
  level: Level,
  format: "text" | "json",
  time: () => number,
  write: (line: string) => void,
): Log {
  const at = (which: Level) => (message: string) => {
    const stamp = new Date(time()).toISOString();
    write(
      format === "json"
        ? `${JSON.stringify({ time: stamp, level: which, msg: message })}\n`
        : `time="${stamp}" level=${which} msg=${JSON.stringify(message)}\n`,
    );
  };
  const limit = ORDER.indexOf(level);
  return {
    error: at("error"),
    warn: limit >= 1 ? at("warn") : () => {},
    ...(limit >= 2 ? { info: at("info") } : {}),
    ...(limit >= 3 ? { debug: at("debug") } : {}),
  };
}
