/**
 * Rules of `portForwards` (specification, sections 17.1 and 17.2): read, filled, checked. Which rule a port of the guest
 * falls under is told by `port-forward-matching.ts`; what stands in socket paths, by `port-forward-sockets.ts`.
 */
import { isScalar, type Node } from "yaml";
import { canonicalIp, isWildcardIp } from "../addr/ip-text.ts";
import type { YamlReader } from "./document.ts";
import { GUEST_VARIABLES, HOST_VARIABLES, socketPathProblem } from "./port-forward-sockets.ts";
import { SOCKET_PATH_LIMIT } from "./paths.ts";

export type PortRange = readonly [first: number, last: number];

export interface PortForward {
  guestIP: string;
  /** the rule is for listeners on all of the guest's addresses only */
  guestIPMustBeZero: boolean;
  guestPortRange: PortRange;
  /** path in the guest, or a template for it */
  guestSocket?: string;
  hostIP: string;
  hostPortRange: PortRange;
  /** path on the host, or a template for it */
  hostSocket?: string;
  proto: "tcp" | "udp" | "any";
  /** from the host's socket to the guest's: connections come from the guest */
  reverse: boolean;
  ignore: boolean;
  /** at once, whether the guest listens or not */
  static: boolean;
}

/** A port and the range it may come with, as they stand in the file. */
interface GivenPorts {
  port?: number;
  range?: PortRange;
}

const ANY_PORT: PortRange = [1, 65535];
const LOOPBACK = "127.0.0.1";

/** how many ports a range has */
export const rangeLength = ([first, last]: PortRange): number => last - first + 1;

/** Reads the list; rules with errors are left out. */
export function readPortForwards(reader: YamlReader, node: Node, path: string): PortForward[] {
  const rules: PortForward[] = [];
  reader.list(node, path, (item, at) => {
    const before = reader.diagnostics.length;
    const rule = new RuleReader(reader, item, at).read();
    const failed = reader.diagnostics.slice(before).some(({ severity }) => severity === "error");
    if (!failed) rules.push(rule);
  });
  return rules;
}

class RuleReader {
  readonly #reader: YamlReader;
  readonly #node: Node;
  readonly #path: string;
  /** where each key's value stands, for complaints about keys that do not go together */
  readonly #at = new Map<string, Node>();

  constructor(reader: YamlReader, node: Node, path: string) {
    this.#reader = reader;
    this.#node = node;
    this.#path = path;
  }

  read(): PortForward {
    const reader = this.#reader;
    const given: { -readonly [Key in keyof PortForward]?: PortForward[Key] } = {};
    const guest: GivenPorts = {};
    const host: GivenPorts = {};
    const keep = (key: string, read: (value: Node, at: string) => void) => ({
      [key]: (value: Node, at: string) => {
        this.#at.set(key, value);
        read(value, at);
      },
    });
    const port = (key: string, side: GivenPorts) =>
      keep(key, (value, at) => {
        const number = this.#port(value, at, true);
        if (number !== undefined) side.port = number;
      });
    const range = (key: string, side: GivenPorts) =>
      keep(key, (value, at) => {
        const ports = this.#range(value, at);
        if (ports !== undefined) side.range = ports;
      });
    const address = (key: "guestIP" | "hostIP") =>
      keep(key, (value, at) => {
        const text = reader.string(value, at);
        const ip = text === undefined ? undefined : canonicalIp(text);
        if (ip !== undefined) given[key] = ip;
        else if (text !== undefined) reader.error(value, at, `not an IP address: ${text}`);
      });
    const flag = (key: "guestIPMustBeZero" | "ignore" | "static" | "reverse") =>
      keep(key, (value, at) => {
        const answer = reader.boolean(value, at);
        if (answer !== undefined) given[key] = answer;
      });
    const socket = (key: "guestSocket" | "hostSocket", variables: readonly string[]) =>
      keep(key, (value, at) => {
        const text = reader.string(value, at);
        if (text === undefined || text === "") return;
        const problem = socketPathProblem(text, variables);
        if (problem !== undefined) reader.error(value, at, problem);
        given[key] = text;
      });
    reader.map(this.#node, this.#path, {
      ...address("guestIP"),
      ...flag("guestIPMustBeZero"),
      ...port("guestPort", guest),
      ...range("guestPortRange", guest),
      ...socket("guestSocket", GUEST_VARIABLES),
      ...address("hostIP"),
      ...port("hostPort", host),
      ...range("hostPortRange", host),
      ...socket("hostSocket", HOST_VARIABLES),
      ...keep("proto", (value, at) => {
        const proto = reader.oneOf(value, at, ["tcp", "udp", "any"]);
        if (proto !== undefined) given.proto = proto;
      }),
      ...flag("reverse"),
      ...flag("ignore"),
      ...flag("static"),
    });
    const guestIP = given.guestIP ?? (given.guestIPMustBeZero === true ? "0.0.0.0" : LOOPBACK);
    const guestPortRange = rangeOf(guest) ?? ANY_PORT;
    const rule: PortForward = {
      guestIP,
      // since Lima 2.0; before, it was false unless said otherwise
      guestIPMustBeZero: given.guestIPMustBeZero ?? guestIP === "0.0.0.0",
      guestPortRange,
      hostIP: given.hostIP ?? LOOPBACK,
      hostPortRange: rangeOf(host) ?? guestPortRange,
      proto: given.proto ?? "any",
      reverse: given.reverse ?? false,
      ignore: given.ignore ?? false,
      static: given.static ?? false,
      ...(given.guestSocket === undefined ? {} : { guestSocket: given.guestSocket }),
      ...(given.hostSocket === undefined ? {} : { hostSocket: given.hostSocket }),
    };
    this.#checkPorts("guest", guest, rule.guestSocket);
    this.#checkPorts("host", host, rule.hostSocket);
    this.#checkTogether(rule, rangeOf(host) !== undefined);
    return rule;
  }

  #error(key: string, message: string): void {
    this.#reader.error(this.#at.get(key) ?? this.#node, `${this.#path}.${key}`, message);
  }

  /** A port; 0 counts as none where `optional` (specification 3.8). */
  #port(node: Node, at: string, optional: boolean): number | undefined {
    const port = this.#reader.integer(node, at, -(2 ** 31), 2 ** 31 - 1);
    if (port === undefined || (port === 0 && optional)) return undefined;
    const problem =
      port < 0
        ? "must be > 0"
        : port === 0
          ? "must be set"
          : port > 65535
            ? "must be < 65536"
            : port === 22
              ? "must not be 22, which is for ssh"
              : undefined;
    if (problem === undefined) return port;
    this.#reader.error(node, at, problem);
    return undefined;
  }

  #range(node: Node, at: string): PortRange | undefined {
    const before = this.#reader.diagnostics.length;
    const items: [Node, string][] = [];
    this.#reader.list(node, at, (item, where) => items.push([item, where]));
    if (this.#reader.diagnostics.length > before) return undefined;
    if (items.length !== 2) {
      this.#reader.error(
        node,
        at,
        `two ports are needed, the first and the last, not ${items.length}`,
      );
      return undefined;
    }
    // [0, 0] is how Lima's own tools write a range that is not set
    if (items.every(([item]) => isScalar(item) && String(item.value) === "0")) return undefined;
    const ports = items.map(([item, where]) => this.#port(item, where, false));
    const [first, last] = ports;
    if (first === undefined || last === undefined) return undefined;
    if (first <= last) return [first, last];
    this.#reader.error(node, at, `the first port, ${first}, is greater than the last, ${last}`);
    return undefined;
  }

  /** Port, range and socket of one side. */
  #checkPorts(
    side: "guest" | "host",
    { port, range }: GivenPorts,
    socket: string | undefined,
  ): void {
    if (socket !== undefined) {
      if (port !== undefined)
        this.#error(`${side}Port`, `must not be set together with ${side}Socket`);
      if (range !== undefined) {
        const key = `${side}PortRange`;
        const node = this.#at.get(key) ?? this.#node;
        this.#reader.warn(node, `${this.#path}.${key}`, `does not count, as ${side}Socket is set`);
      }
    } else if (port !== undefined && range !== undefined && port !== range[0]) {
      this.#error(`${side}Port`, `must be the first port of ${side}PortRange, ${range[0]}`);
    }
  }

  /** What the two sides need of each other. */
  #checkTogether(rule: PortForward, hasHostPorts: boolean): void {
    const { guestSocket, hostSocket } = rule;
    if (rule.guestIPMustBeZero && !isWildcardIp(rule.guestIP))
      this.#error("guestIPMustBeZero", `needs guestIP 0.0.0.0, not ${rule.guestIP}`);
    if (guestSocket !== undefined && !/^(\/|\{\{)/.test(guestSocket))
      this.#error("guestSocket", `must be an absolute path, not ${guestSocket}`);
    if (hostSocket !== undefined && !hostSocket.includes("{{")) {
      const { length } = new TextEncoder().encode(hostSocket);
      // the system's own limit counts when the path is filled in
      const limit = SOCKET_PATH_LIMIT.linux;
      if (length >= limit)
        this.#error("hostSocket", `must be less than ${limit} octets long, not ${length}`);
    }
    if (rule.reverse && guestSocket === undefined)
      this.#error("reverse", "needs guestSocket, where connections begin");
    if (rule.reverse && hostSocket === undefined)
      this.#error("reverse", "needs hostSocket, where connections end");
    const guestPorts = rangeLength(rule.guestPortRange);
    const hostPorts = rangeLength(rule.hostPortRange);
    if (guestSocket !== undefined) {
      // where it leads can be one port (Lima demanded as many ports as the guest has)
      if (hostSocket === undefined && !rule.ignore && !(hasHostPorts && hostPorts === 1))
        this.#error("guestSocket", "needs hostSocket or one hostPort to be forwarded to");
    } else if (hostSocket !== undefined) {
      if (guestPorts !== 1) this.#error("hostSocket", "needs one guestPort or guestSocket");
    } else if (guestPorts !== hostPorts) {
      this.#error(
        hasHostPorts && this.#at.has("hostPortRange") ? "hostPortRange" : "hostPort",
        `guestPortRange and hostPortRange must have the same length, not ${guestPorts} and ${hostPorts}`,
      );
    }
  }
}

const rangeOf = ({ port, range }: GivenPorts): PortRange | undefined =>
  range ?? (port === undefined ? undefined : [port, port]);
