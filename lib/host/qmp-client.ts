/** QEMU's monitor protocol (QMP) on a unix socket: one JSON object a line. */
export interface QmpClient {
  execute(command: string, args?: Record<string, unknown>): Promise<unknown>;
  close(): void;
}

const CLOSED = "QEMU has closed its monitor";

/** Connects and leaves the negotiation mode; rejects when nobody listens. */
export async function connectQmp(
  path: string,
  onEvent: (name: string) => void,
): Promise<QmpClient> {
  let input = "";
  const waiting: { resolve(value: unknown): void; reject(error: Error): void }[] = [];
  const { promise: greeted, resolve: greet, reject: refuse } = Promise.withResolvers<void>();
  let closed = false;
  const fail = () => {
    closed = true;
    const error = new Error(CLOSED);
    refuse(error);
    for (const request of waiting.splice(0)) request.reject(error);
  };
  const onLine = (line: string) => {
    const message = JSON.parse(line) as {
      QMP?: unknown;
      event?: string;
      return?: unknown;
      error?: { desc: string };
    };
    if (message.QMP !== undefined) greet();
    else if (message.event !== undefined) onEvent(message.event);
    else if (message.error !== undefined) waiting.shift()?.reject(new Error(message.error.desc));
    else waiting.shift()?.resolve(message.return);
  };
  const socket = await Bun.connect({
    unix: path,
    socket: {
      data(connection, octets) {
        input += octets.toString("utf8");
        for (let end = input.indexOf("\n"); end >= 0; end = input.indexOf("\n")) {
          const line = input.slice(0, end).trim();
          input = input.slice(end + 1);
          if (line === "") continue;
          try {
            onLine(line);
          } catch {
            // what does not speak JSON is not QEMU
            connection.end();
            fail();
            return;
          }
        }
      },
      close: fail,
      error: fail,
    },
  });
  const client: QmpClient = {
    execute(command, args) {
      if (closed) return Promise.reject(new Error(CLOSED));
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        socket.write(
          `${JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }) })}\n`,
        );
      });
    },
    close: () => void socket.end(),
  };
  await greeted;
  await client.execute("qmp_capabilities");
  return client;
}
