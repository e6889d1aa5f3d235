/**
 * A TCP port of 127.0.0.1 whose connections are joined, octets both ways, each with a descriptor of its own, such as a
 * connection to a vsock port of a guest. Who is slow holds up the other side; an end of sending is passed on.
 */
import { libc } from "./libc.ts";
import { listenSteadily } from "./steady-listener.ts";

/** what a side needs of the other's socket */
type OtherSide = Pick<
  Bun.Socket<Side>,
  "data" | "end" | "readyState" | "resume" | "shutdown" | "terminate" | "write"
>;

interface Side {
  other: OtherSide | undefined;
  /** what the other side has not taken yet: then this one is paused */
  rest: Buffer;
  hasEnded: boolean;
}

const side = (): Side => ({ other: undefined, rest: Buffer.alloc(0), hasEnded: false });

/** `open` gives a descriptor, which is the proxy's; the client of one that rejects is reset. */
export function proxyToDescriptors(
  port: number,
  open: () => Promise<number>,
): { port: number; stop(closeActiveConnections?: boolean): void } {
  let bound = port;
  const listener = listenSteadily(() =>
    Bun.listen<Side>({
      hostname: "127.0.0.1",
      port: bound,
      allowHalfOpen: true,
      socket: {
        ...handlers,
        open(client) {
          client.data = side();
          client.pause();
          void join(client, open);
        },
      },
    }),
  );
  bound = listener.first.port;
  return { port: bound, stop: listener.stop };
}

async function join(client: Bun.Socket<Side>, open: () => Promise<number>): Promise<void> {
  let fd: number;
  try {
    fd = await open();
  } catch {
    client.terminate();
    return;
  }
  if (client.readyState <= 0) {
    libc.close(fd);
    return;
  }
  // Bun takes descriptors, too, though its types do not say so
  const options = { fd, data: side(), allowHalfOpen: true, socket: handlers };
  const guest = await Bun.connect<Side>(options as unknown as Bun.UnixSocketOptions<Side>);
  guest.data.other = client;
  client.data.other = guest;
  client.resume();
}

const handlers = {
  data(from: Bun.Socket<Side>, octets: Buffer): void {
    const to = from.data.other;
    if (to === undefined) return;
    const taken = Math.max(to.write(octets), 0);
    if (taken === octets.length) return;
    from.data.rest = Buffer.concat([from.data.rest, octets.subarray(taken)]);
    from.pause();
  },
  drain(to: Bun.Socket<Side>): void {
    const from = to.data.other;
    if (from === undefined) return;
    const { data } = from;
    if (data.rest.length > 0) data.rest = data.rest.subarray(Math.max(to.write(data.rest), 0));
    if (data.rest.length > 0) return;
    if (!data.hasEnded) from.resume();
    else if (from.readyState > 0) to.shutdown();
    else to.end();
  },
  end(from: Bun.Socket<Side>): void {
    from.data.hasEnded = true;
    if (from.data.rest.length === 0) from.data.other?.shutdown();
  },
  close(from: Bun.Socket<Side>): void {
    from.data.hasEnded = true;
    // what is left goes first
    if (from.data.rest.length === 0) from.data.other?.end();
    from.data.other = undefined;
  },
  error(from: Bun.Socket<Side>): void {
    from.data.other?.terminate();
  },
};
