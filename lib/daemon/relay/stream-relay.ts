/** The main thread's side of the relay, which runs in a thread of its own from the first card on. */
import { openPair } from "../../host/datagram-pair.ts";
import { closeDescriptor } from "../../host/descriptors.ts";
import type { Log } from "../../trace/log.ts";
import { ThreadClient } from "../engine/thread-client.ts";
import type { RelayEvent, RelayRequest } from "./relay-protocol.ts";

export class StreamRelay {
  readonly #log: Log;
  #thread: Promise<ThreadClient<RelayEvent>> | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  /** A datagram socket of the caller's whose frames go to and come from the switch that listens at a path. */
  async join(path: string): Promise<number> {
    this.#thread ??= this.#start();
    const thread = await this.#thread;
    const { ours, theirs } = openPair();
    try {
      await thread.request({ type: "join", path, fd: theirs } satisfies RelayRequest);
      return ours;
    } catch (error) {
      closeDescriptor(ours);
      throw error;
    }
  }

  async #start(): Promise<ThreadClient<RelayEvent>> {
    const { thread } = await ThreadClient.start<RelayEvent>(
      "lib/daemon/relay/relay-thread.ts",
      {},
      {
        onEvent: (event) => {
          if (event.type === "log") this.#log[event.level]?.(event.line);
        },
        // its sockets are gone with it, and each card looks for another
        onFailure: (why) => {
          this.#thread = undefined;
          this.#log.error(why.message);
        },
      },
    );
    return thread;
  }

  async close(): Promise<void> {
    const thread = await this.#thread?.catch(() => undefined);
    await thread?.close();
  }
}
