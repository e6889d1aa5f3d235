/**
 * How a guest without an agent tells on which ports its programs listen: a script that ssh runs in it, which needs a POSIX
 * shell, grep, sleep and no privileges, and the reading of what it prints. What a guest says is not trusted.
 */
import { parseKernelEndpoint } from "../addr/kernel-endpoint.ts";
import type { Listener } from "../config/port-forward-matching.ts";

/**
 * Looks every 3 s (as Lima's agent does) and prints one line: all the sockets that listen, when they have changed, as the
 * kernel writes them; {} when they have not, so that both sides notice when the connection is broken. In the kernel's
 * tables 0A is TCP that listens, 07 is UDP without a peer.
 */
export const LISTENING_PORTS_SCRIPT = `
LC_ALL=C
export LC_ALL
case $(printf '\\1\\0' | od -d 2>/dev/null) in
*256*) order=big ;;
*) order=little ;;
esac
table() {
	printf ',"%s":[' "$1"
	comma=
	grep -s " $2 " "/proc/net/$1" | while read -r _ local _ state _; do
		if [ "$state" = "$2" ]; then
			printf '%s"%s"' "$comma" "$local"
			comma=,
		fi
	done
	printf ']'
}
sockets() {
	printf '{"order":"%s"' "$order"
	table tcp 0A
	table tcp6 0A
	table udp 07
	table udp6 07
	printf '}'
}
last=
while :; do
	now=$(sockets)
	if [ "$now" = "$last" ]; then
		echo '{}' || exit
	else
		echo "$now" || exit
		last=$now
	fi
	sleep 3
done
`;

/** octets of a line; a thousand sockets fit well */
export const MAX_LINE = 128 * 1024;
/** listeners of a guest that are looked at */
export const MAX_LISTENERS = 1024;

const TABLES = { tcp: "tcp", tcp6: "tcp", udp: "udp", udp6: "udp" } as const;

export const listenerKey = ({ protocol, ip, port }: Listener): string =>
  `${protocol} ${ip} ${port}`;

/** What a guest has told so far. */
export class ListeningPorts {
  #told: Listener[] = [];
  #before = new Set<string>();

  /**
   * Takes a line of the script; the listeners now, or a sentence when the line says nothing. A UDP socket counts when two
   * lines in a row have it: programs that only ask a question have one for a moment.
   */
  onLine(line: string): Listener[] | string {
    const told = readLine(line);
    if (typeof told === "string") return told;
    if (told !== undefined) this.#told = told;
    const before = this.#before;
    this.#before = new Set(this.#told.map(listenerKey));
    return this.#told.filter(
      (listener) => listener.protocol === "tcp" || before.has(listenerKey(listener)),
    );
  }
}

/** undefined: the same as before; text: what is wrong */
function readLine(line: string): Listener[] | undefined | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return `the guest's list of ports is not JSON, or longer than ${MAX_LINE} octets`;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return "the guest's list of ports is no JSON object";
  if (Object.keys(value).length === 0) return undefined;
  const { order, ...tables } = value as Record<string, unknown>;
  if (order !== "little" && order !== "big")
    return "the guest's list of ports does not say its octet order";
  const listeners = new Map<string, Listener>();
  for (const [name, protocol] of Object.entries(TABLES)) {
    const entries = tables[name];
    if (!Array.isArray(entries)) return `the guest's list of ports has no list ${name}`;
    for (const entry of entries as unknown[]) {
      const endpoint = typeof entry === "string" ? parseKernelEndpoint(entry, order) : undefined;
      if (endpoint === undefined)
        return `the guest's list of ports has something in ${name} that is no endpoint`;
      if (endpoint.port === 0) continue;
      const listener = { protocol, ...endpoint };
      listeners.set(listenerKey(listener), listener);
      if (listeners.size > MAX_LISTENERS)
        return `the guest listens on more than ${MAX_LISTENERS} ports; changes are not followed`;
    }
  }
  return [...listeners.values()];
}
