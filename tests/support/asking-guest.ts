/**
 * A real kernel in QEMU that has no way out but the card under test: once it has an address it asks a server on the host, by
 * HTTP, what to do, does it, and says what came of it. It is the demo's guest with another first process.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const IMAGE = ".cache/guest";

const init = (host: string): string => `#!/bin/busybox sh
/bin/busybox --install -s
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /run /tmp
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
for module in $(cat /etc/modules); do insmod "/lib/modules/$module.ko" 2>/dev/null; done
ip link set lo up
ip link set eth0 up
mkdir -p /run/dhcp
echo 100 >/run/dhcp/eth0.metric
while ! udhcpc -n -q -i eth0 -s /etc/udhcpc.sh -t 5 -T 1 -O mtu; do sleep 0.2; done
while :; do
	wget -q -O /tmp/task http://${host}/task || { sleep 0.2; continue; }
	sh /tmp/task >/tmp/result 2>&1
	wget -q -O /dev/null --post-file /tmp/result http://${host}/result
done
`;

/** Zeros up to the next of the places where the kernel looks for an archive's head. */
const padding = (length: number) => Buffer.alloc((4 - (length % 4)) % 4);

/** A cpio archive (newc) with one file. */
function archive(name: string, content: string): Buffer {
  const entry = (path: string, mode: number, data: Buffer): Buffer => {
    const fields = [0, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0];
    const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${path}\0`;
    const headOctets = Buffer.from(head);
    return Buffer.concat([headOctets, padding(headOctets.length), data, padding(data.length)]);
  };
  return Buffer.concat([
    entry(name, 0o100755, Buffer.from(content)),
    entry("TRAILER!!!", 0, Buffer.alloc(0)),
  ]);
}

export class AskingGuest {
  readonly #folder = mkdtempSync(join(tmpdir(), "limanet-guest-"));
  readonly #server: Bun.Server<undefined>;
  readonly #tasks: string[] = [];
  #waiting: ((task: string) => void) | undefined;
  #result: ((text: string) => void) | undefined;
  #qemu?: Bun.Subprocess;
  readonly #sink: Bun.TCPSocketListener<undefined>;
  /** what the guest fetches at `/download` */
  download: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** what the guest's first connection to the sink says until its end */
  readonly upload: Promise<Uint8Array>;

  constructor() {
    this.#server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      maxRequestBodySize: 1 << 30,
      idleTimeout: 0,
      fetch: (request) => this.#answer(request),
    });
    const upload = Promise.withResolvers<Uint8Array>();
    this.upload = upload.promise;
    const pieces: Buffer[] = [];
    this.#sink = Bun.listen<undefined>({
      port: 0,
      hostname: "127.0.0.1",
      socket: {
        data: (_socket, piece) => void pieces.push(Buffer.from(piece)),
        end: (socket) => {
          upload.resolve(Buffer.concat(pieces));
          socket.end();
        },
      },
    });
  }

  async #answer(request: Request): Promise<Response> {
    switch (new URL(request.url).pathname) {
      case "/task": {
        const task = this.#tasks.shift();
        if (task !== undefined) return new Response(task);
        return new Response(await new Promise<string>((resolve) => (this.#waiting = resolve)));
      }
      case "/result":
        this.#result?.(await request.text());
        return new Response();
      default:
        return new Response(this.download);
    }
  }

  get port(): number {
    return this.#server.port!;
  }

  get sinkPort(): number {
    return this.#sink.port;
  }

  /** `network`: QEMU's options for its card; `gateway`: where the guest reaches the host's loopback. */
  boot(network: readonly string[], gateway: string): void {
    const initrd = join(this.#folder, "initrd");
    const own = archive("init", init(`${gateway}:${this.port}`));
    const image = readFileSync(`${IMAGE}/initrd`);
    writeFileSync(initrd, Buffer.concat([image, padding(image.length), own]));
    const machine = ["-machine", "q35,accel=tcg", "-cpu", "max", "-nodefaults", "-no-user-config"];
    const kernel = ["-kernel", `${IMAGE}/vmlinuz`, "-initrd", initrd];
    const console = ["-append", "console=ttyS0 quiet panic=-1", "-display", "none"];
    const serial = ["-serial", `file:${join(this.#folder, "serial.log")}`];
    this.#qemu = Bun.spawn(
      ["qemu-system-x86_64", ...machine, ...kernel, ...console, ...serial, ...network],
      { stdin: "ignore", stdout: "ignore", stderr: "inherit" },
    );
  }

  /** Has the guest run a script; what it wrote. */
  run(script: string): Promise<string> {
    return new Promise((resolve) => {
      this.#result = resolve;
      this.tell(script);
    });
  }

  /** The same for what ends the guest. */
  tell(script: string): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#tasks.push(script);
    else waiting(script);
  }

  /** for people who look why a test failed */
  get log(): string {
    return readFileSync(join(this.#folder, "serial.log"), "utf8");
  }

  get isRunning(): boolean {
    return this.#qemu?.exitCode === null;
  }

  async close(): Promise<void> {
    this.#qemu?.kill("SIGKILL");
    await this.#qemu?.exited;
    await this.#server.stop(true);
    this.#sink.stop(true);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
