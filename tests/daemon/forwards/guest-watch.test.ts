/** The stream of a guest's ports, from shells that stand in for ssh: what is taken of it, and that it is begun again. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { watchGuest } from "../../../lib/daemon/forwards/guest-watch.ts";
import { MAX_LINE } from "../../../lib/guest/listening-ports.ts";

/** Runs a script in ssh's place until `enough` says so; what was heard. */
async function hear(script: string, enough: (heard: string[]) => boolean): Promise<string[]> {
  const heard: string[] = [];
  const over = new AbortController();
  const add = (line: string) => {
    heard.push(line);
    if (enough(heard)) over.abort();
  };
  await watchGuest({
    command: ["sh", "-c", script],
    signal: over.signal,
    onListeners: (listeners) => add(listeners.map(({ ip, port }) => `${ip}:${port}`).join(" ")),
    onReconnect: () => add("reconnected"),
    log: { error: add, warn: (line) => add(`warning: ${line}`), info: () => {} },
  });
  return heard;
}

const line = (socket: string) =>
  `{"order":"little","tcp":["${socket}"],"tcp6":[],"udp":[],"udp6":[]}`;

test("the listeners are told line by line, whatever pieces they come in", async () => {
  const [before, after] = [line("00000000:0050").slice(0, 30), line("00000000:0050").slice(30)];
  const script = `cat >/dev/null; printf '%s' '${before}'; sleep 0.1; printf '%s\\n{}\\n%s\\n' '${after}' '${line("0100007F:1F90")}'; exec sleep 60`;
  expect(await hear(script, (heard) => heard.length === 3)).toEqual([
    "0.0.0.0:80",
    "0.0.0.0:80",
    "127.0.0.1:8080",
  ]);
}, 20_000);

test("the script arrives whole on standard input", async () => {
  const script = `test "$(cat | sh -n && echo good)" = good && echo '${line("00000000:0050")}'; exec sleep 60`;
  expect(await hear(script, (heard) => heard.length === 1)).toEqual(["0.0.0.0:80"]);
});

test("nonsense is said once, and a line that never ends is cut", async () => {
  const script = `cat >/dev/null; echo nonsense; echo nonsense; echo '${line("00000000:0050")}'; head -c ${2 * MAX_LINE} /dev/zero; echo; echo '{}'; exec sleep 60`;
  expect(await hear(script, (heard) => heard.length === 4)).toEqual([
    `warning: the guest's list of ports is not JSON, or longer than ${MAX_LINE} octets`,
    "0.0.0.0:80",
    `warning: the guest's list of ports is not JSON, or longer than ${MAX_LINE} octets`,
    "0.0.0.0:80",
  ]);
}, 20_000);

test("a connection that breaks is made again, and that is told", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lima-"));
  const mark = join(folder, "mark");
  const script = `cat >/dev/null; if test -e ${mark}; then echo '${line("00000000:0051")}'; exec sleep 60; fi; touch ${mark}; echo '${line("00000000:0050")}'; echo lost >&2; exit 255`;
  expect(await hear(script, (heard) => heard.length === 3)).toEqual([
    "0.0.0.0:80",
    "reconnected",
    "0.0.0.0:81",
  ]);
  rmSync(folder, { recursive: true });
}, 20_000);
