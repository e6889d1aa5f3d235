/**
 * `limanet vmnet` on the fake of vmnet: in a copy of the project whose native library that is (../vmnet-daemon.test.ts makes
 * it). The socket's path is the first argument; prints what was seen as JSON.
 */
import { CString, dlopen, type Pointer } from "bun:ffi";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { runVmnet } from "../../../lib/daemon/vmnet/vmnet-daemon.ts";
import { hostGroup } from "../../../lib/host/machine.ts";
import { lineLog } from "../../../lib/trace/log.ts";
import { VIRTIO_HEADER_LENGTH } from "../../../lib/link/virtio-header.ts";

/** places of native/fake/fake.h's enum fake_call, and statuses of vmnet */
const [FAKE_START_LATE, FAKE_READ] = [1, 3];
const [VMNET_FAILURE, VMNET_INVALID_ACCESS] = [1001, 1005];

const library = new URL(`../../../dist/native/limanet-linux-${process.arch}.so`, import.meta.url);
const fake = dlopen(library.pathname, {
  fake_fail: { args: ["u32", "u32", "u32"], returns: "void" },
  fake_inject: { args: ["ptr", "u32"], returns: "i32" },
  fake_take: { args: ["ptr", "u32"], returns: "i32" },
  fake_described: { args: ["ptr"], returns: "ptr" },
}).symbols;
const described = (key: string): string =>
  new CString(fake.fake_described(Buffer.from(`${key}\0`)) as Pointer).toString();

const socketPath = process.argv[2]!;
const lines: string[] = [];
const log = lineLog("info", "text", Date.now, (line) => void lines.push(line));
const until = async (condition: () => boolean) => {
  while (!condition()) await Bun.sleep(5);
};

const GUEST = "525555000001";
const HOST = "0200000000fe";
const frame = (to: string, from: string, rest: string) => Buffer.from(`${to}${from}${rest}`, "hex");
/** the next frame that the network has given to the host, without its virtio header */
async function toHost(): Promise<string> {
  const octets = Buffer.alloc(4096);
  let length = -1;
  await until(() => (length = fake.fake_take(octets, octets.length)) >= 0);
  return octets.subarray(VIRTIO_HEADER_LENGTH, length).toString("hex");
}
const fromHost = (octets: Buffer) => {
  const record = Buffer.concat([Buffer.alloc(VIRTIO_HEADER_LENGTH), octets]);
  fake.fake_inject(record, record.length);
};

// soon after boot the first start fails
fake.fake_fail(FAKE_START_LATE, VMNET_FAILURE, process.getuid!() === 0 ? 1 : 0);
const ended = runVmnet(
  {
    socket: socketPath,
    group: hostGroup(),
    pidFile: `${socketPath}.pid`,
    vmnetMode: "shared",
    vmnetGateway: "192.168.105.1",
    vmnetDhcpEnd: "192.168.105.100",
    vmnetInterfaceId: "4C1F5F6E-2B1A-4D0C-9A43-0F3F7E0D6A11",
    vmnetNat66Prefix: "fd12:3456:789a:bcde::",
  },
  log,
).catch((error: Error) => error.message);
await until(() => lines.some((line) => line.includes("network ready")));

const guest = connect(socketPath);
let received = Buffer.alloc(0);
guest.on("data", (piece: Buffer) => (received = Buffer.concat([received, piece])));
const send = (octets: Buffer) => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(octets.length);
  guest.write(Buffer.concat([length, octets]));
};

// what only the host's DHCP server says, and then something else: UDP from port 67 to port 68
send(
  frame(
    "ffffffffffff",
    GUEST,
    `08004500002000000000401100000a000001ffffffff00430044000c0000${"00".repeat(4)}`,
  ),
);
send(frame(HOST, GUEST, `88b5${"11".repeat(50)}`));
const outward = await toHost();
fromHost(frame(GUEST, HOST, `88b5${"22".repeat(50)}`));
await until(() => received.length >= 68);

fake.fake_fail(FAKE_READ, VMNET_INVALID_ACCESS, 1);
fromHost(frame(GUEST, HOST, `88b5${"33".repeat(50)}`));
const end = await ended;
const ready = lines.find((line) => line.includes("network ready"))!;
process.stdout.write(
  JSON.stringify({
    retries: lines.filter((line) => line.includes("tried again in 1 s")).length,
    described: Object.fromEntries(
      [
        "operation_mode",
        "start_address",
        "end_address",
        "subnet_mask",
        "interface_id",
        "nat66_prefix",
      ].map((key) => [key, described(key)]),
    ),
    ready: /mode=\w+/.exec(ready)![0],
    outward,
    inward: received.toString("hex"),
    end,
    left: ["", ".datagram", ".descriptor", ".pid"].filter((suffix) =>
      existsSync(`${socketPath}${suffix}`),
    ),
  }),
);
process.exit(0);
