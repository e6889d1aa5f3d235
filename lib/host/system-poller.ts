/** The way of this system to learn what is ready. */
import { EpollPoller } from "./epoll.ts";
import { KqueuePoller } from "./kqueue.ts";
import { abi } from "./libc.ts";
import type { Poller } from "./poller.ts";

export const systemPoller = (): Poller =>
  process.platform === "darwin" ? new KqueuePoller(abi.libraries) : new EpollPoller();
