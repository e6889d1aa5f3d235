/**
 * What is known of the daemon of a shared, host or bridged network. Its pid file may be root's, so that no lock can be asked
 * for. A pid counts as the daemon's only when somebody serves the socket besides, or when the process has the pid file's name
 * on its command line; the number of a daemon that is gone may be anybody's by now, and root is never asked to end that one.
 */
import type { NetworksConfig } from "../config/networks.ts";
import { readTextIfThere } from "../host/files.ts";
import { commandLineOf, isAlive } from "../host/process.ts";
import { tryUnixSocket } from "../host/unix-http.ts";
import { pidFileOf, socketOf } from "../privilege/commands.ts";

export interface ManagedDaemon {
  /** 0: there is none */
  pid: number;
  /** somebody accepts connections on its socket, as far as we may try */
  serves: boolean;
}

/** What is known of a network's daemon; throws when its pid file holds something else than a pid. */
export async function managedDaemon(
  networks: NetworksConfig,
  name: string,
): Promise<ManagedDaemon> {
  const pidFile = pidFileOf(networks, name);
  const text = readTextIfThere(pidFile)?.trim();
  if (text === undefined || text === "") return { pid: 0, serves: false };
  if (!/^\d+$/.test(text))
    throw new Error(
      `Cannot tell whether the network ${name} runs: ${pidFile} holds ${JSON.stringify(text)}, which is no process id (sudo rm ${pidFile})`,
    );
  const pid = Number(text);
  if (!isAlive(pid)) return { pid: 0, serves: false };
  const attempt = await tryUnixSocket(socketOf(networks, name));
  if (attempt === "served") return { pid, serves: true };
  const isDaemon = commandLineOf(pid).includes(`--pidfile=${pidFile}`);
  return { pid: isDaemon ? pid : 0, serves: isDaemon && attempt === "denied" };
}
