/** What people and programs of the host say: lima.yaml and networks.yaml, and HTTP to the control API of a running daemon. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Diagnostic } from "../../lib/config/document.ts";
import { parseInstance } from "../../lib/config/instance.ts";
import { defaultNetworksText, parseNetworks } from "../../lib/config/networks.ts";
import { requestUnixHttp } from "../../lib/host/unix-http.ts";
import type { Dice, Target } from "./dice.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

/** what YAML has a meaning for, and what has one in our files */
const PIECES = [
  ..."{}[],:-?&*!|>%@`\"'#\n\t ".split(""),
  ": ",
  "- ",
  "\n  ",
  "<<: ",
  "&a ",
  "*a",
  "!!binary ",
  "~",
  "null",
  "true",
  "0x",
  "1e999",
  "-1",
  ".inf",
  "all",
  "none",
  "hostAccess: ",
  "networks: ",
  "portForwards: ",
  "lima: user-v2",
  "192.168.104.1",
  "{{.Home}}",
  "\u0000",
  "\uFEFF",
  "é",
];

const yaml = (
  name: string,
  text: string,
  parse: (text: string) => { config?: unknown; diagnostics: Diagnostic[] },
): Target => ({
  name,
  unit: "texts",
  batch: 1,
  round(dice) {
    let changed = text;
    for (let n = 1 + dice.below(4); n > 0; n--) {
      const at = dice.below(changed.length + 1);
      const gone = dice.pick([0, 0, 1, 5, 40]);
      changed =
        changed.slice(0, at) +
        (dice.chance(0.8) ? dice.pick(PIECES) : "") +
        changed.slice(at + gone);
    }
    const { config, diagnostics } = parse(changed);
    const lines = changed.split("\n").length;
    const fails = diagnostics.some(({ severity }) => severity === "error");
    const isPlaced = diagnostics.every(
      ({ line, column }) => line >= 1 && line <= lines + 1 && column >= 1,
    );
    if (fails === (config !== undefined) || !isPlaced)
      throw new Error(`${JSON.stringify(changed)}: ${JSON.stringify(diagnostics)}`);
  },
});

export const YAML_TARGETS: Target[] = [
  yaml("lima.yaml", readFileSync(join(ROOT, "docs/example.yaml"), "utf8"), (text) =>
    parseInstance(text, "lima.yaml"),
  ),
  yaml(
    "networks.yaml",
    defaultNetworksText({
      paths: {
        socketVMNet: "/opt/socket_vmnet",
        varRun: "/private/var/run/lima",
        sudoers: "/etc/sudoers.d/lima",
      },
      group: "staff",
      bridgedInterface: "en0",
    }),
    (text) => parseNetworks(text, "networks.yaml"),
  ),
];

const REQUESTS = [
  "GET /stats HTTP/1.1\r\nHost: lima\r\n\r\n",
  "GET /services/forwarder/all HTTP/1.1\r\nHost: lima\r\nConnection: close\r\n\r\n",
  'POST /services/forwarder/expose HTTP/1.1\r\nHost: lima\r\nContent-Length: 66\r\n\r\n{"local":"127.0.0.1:0","remote":"192.168.5.15:22","protocol":"tcp"}',
  'POST /services/dns/add HTTP/1.1\r\nHost: lima\r\nContent-Length: 65\r\n\r\n{"Name":"internal.","Records":[{"Name":"p","IP":"192.168.104.9"}]}',
  "GET /limanet/dns/explain?name=host.lima.internal&type=A HTTP/1.1\r\nHost: lima\r\n\r\n",
  "POST /limanet/dns/query HTTP/1.1\r\nHost: lima\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
  "GET /extension/wait_port?ip=192.168.5.15&port=22&timeout=0 HTTP/1.1\r\nHost: lima\r\n\r\n",
  "GET /tunnel?ip=192.168.5.15&port=22 HTTP/1.1\r\nHost: lima\r\n\r\n",
  "POST /connect HTTP/1.1\r\nHost: lima\r\n\r\n\u0003\u0000abc",
].map((text) => new TextEncoder().encode(text));

/** Mangled requests to a daemon of its own, each on a connection that is then closed in one of three ways. */
export class ControlApiTarget implements Target {
  readonly name = "control API";
  readonly unit = "connections";
  readonly batch = 10;
  readonly #folder = mkdtempSync(join(tmpdir(), "limanet-fuzz-"));
  readonly #socket = join(this.#folder, "api.sock");
  #daemon: { isAlive(): boolean; end(): Promise<unknown> } | undefined;

  async round(dice: Dice): Promise<void> {
    if (this.#daemon === undefined) await this.#start();
    await Promise.all(
      Array.from({ length: this.batch }, () =>
        this.#say(dice.mangle(dice.pick(REQUESTS), REQUESTS), dice.below(3)),
      ),
    );
    const { status } = await requestUnixHttp(this.#socket, "GET", "/stats");
    if (status !== 200 || !this.#daemon!.isAlive()) throw new Error(`the daemon answers ${status}`);
  }

  async #start(): Promise<void> {
    const daemon = Bun.spawn(
      [process.execPath, join(ROOT, "main.ts"), "usernet", "-e", this.#socket],
      {
        stdin: "ignore",
        stdout: "ignore",
        stderr: "pipe",
      },
    );
    this.#daemon = {
      isAlive: () => daemon.exitCode === null,
      end: () => {
        daemon.kill("SIGTERM");
        return daemon.exited;
      },
    };
    for await (const chunk of daemon.stderr)
      if (new TextDecoder().decode(chunk).includes("network ready")) return;
    throw new Error("the daemon does not start");
  }

  #say(octets: Uint8Array, how: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const socket = createConnection(this.#socket);
    socket.on("error", () => resolve());
    socket.on("close", () => resolve());
    socket.on("data", () => {
      if (how === 0) socket.destroy();
    });
    socket.write(octets, () => {
      if (how === 1) socket.destroy();
      else socket.end();
    });
    // a request that is not whole is waited for
    setTimeout(() => socket.destroy(), 50);
    return promise;
  }

  async close(): Promise<void> {
    await this.#daemon?.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
