/** One rule of `portForwards` (specification, sections 17.1 and 17.2): read, filled, checked. */
import type { Node } from "yaml";
import { parseIpv4 } from "../addr/ipv4.ts";
import type { YamlReader } from "./document.ts";

type ForwardProtocol = "tcp" | "udp" | "any";

export interface PortForward {
  guestIP: string;
  guestPortRange: readonly [number, number];
  guestSocket?: string;
  hostIP: string;
  hostPortRange: readonly [number, number];
  hostSocket?: string;
  proto: ForwardProtocol;
  reverse: boolean;
  ignore: boolean;
  static: boolean;
}

const ALL_PORTS = [1, 65535] as const;

const isIpv6 = (text: string): boolean =>
  /^[0-9a-f:.]+$/i.test(text) && URL.canParse(`http://[${text}]/`);

/** Reads the list; rules with errors are left out. */
export function readPortForwards(reader: YamlReader, node: Node, path: string): PortForward[] {
  const rules: PortForward[] = [];
  reader.list(node, path, (item, at) => {
    const rule = readPortForward(reader, item, at);
    if (rule !== undefined) rules.push(rule);
  });
  return rules;
}

function readPortForward(reader: YamlReader, node: Node, path: string): PortForward | undefined {
  const before = reader.diagnostics.length;
  const given: Partial<{ -readonly [K in keyof PortForward]: PortForward[K] }> & {
    guestPort?: number;
    hostPort?: number;
  } = {};
  const port = (key: "guestPort" | "hostPort") => (value: Node, at: string) => {
    const number = reader.integer(value, at, 1, 65535);
    if (number === 22 && key === "hostPort") reader.error(value, at, "must not be 22");
    if (number !== undefined) given[key] = number;
  };
  const range = (key: "guestPortRange" | "hostPortRange") => (value: Node, at: string) => {
    const ports: number[] = [];
    reader.list(value, at, (item, where) => {
      const number = reader.integer(item, where, 1, 65535);
      if (number !== undefined) ports.push(number);
    });
    const [first, last, ...rest] = ports;
    if (first === undefined || last === undefined || rest.length > 0 || first > last)
      reader.error(value, at, "two ports, the smaller first, are needed");
    else given[key] = [first, last];
  };
  const address = (key: "guestIP" | "hostIP") => (value: Node, at: string) => {
    const text = reader.string(value, at) ?? "";
    if (parseIpv4(text) === undefined && !isIpv6(text))
      reader.error(value, at, `not an IP address: ${text}`);
    else given[key] = text;
  };
  const flag = (key: "ignore" | "static" | "reverse") => (value: Node, at: string) => {
    given[key] = reader.boolean(value, at) ?? false;
  };
  const socket = (key: "guestSocket" | "hostSocket") => (value: Node, at: string) => {
    const text = reader.string(value, at);
    if (text !== undefined) given[key] = text;
  };
  reader.map(node, path, {
    guestIP: address("guestIP"),
    guestIPMustBeZero: () => {},
    guestPort: port("guestPort"),
    guestPortRange: range("guestPortRange"),
    guestSocket: socket("guestSocket"),
    hostIP: address("hostIP"),
    hostPort: port("hostPort"),
    hostPortRange: range("hostPortRange"),
    hostSocket: socket("hostSocket"),
    proto: (value, at) => {
      const proto = reader.oneOf(value, at, ["tcp", "udp", "any"]);
      if (proto !== undefined) given.proto = proto;
    },
    reverse: flag("reverse"),
    ignore: flag("ignore"),
    static: flag("static"),
  });
  const guest =
    given.guestPortRange ??
    (given.guestPort === undefined ? ALL_PORTS : [given.guestPort, given.guestPort]);
  const host =
    given.hostPortRange ??
    (given.hostPort === undefined ? guest : [given.hostPort, given.hostPort]);
  if (
    given.hostSocket === undefined &&
    given.guestSocket === undefined &&
    guest[1] - guest[0] !== host[1] - host[0]
  ) {
    reader.error(node, path, "guestPortRange and hostPortRange must have the same length");
  }
  if (reader.diagnostics.slice(before).some((diagnostic) => diagnostic.severity === "error"))
    return undefined;
  return {
    guestIP: given.guestIP ?? "127.0.0.1",
    guestPortRange: guest as [number, number],
    hostIP: given.hostIP ?? "127.0.0.1",
    hostPortRange: host as [number, number],
    proto: given.proto ?? "any",
    reverse: given.reverse ?? false,
    ignore: given.ignore ?? false,
    static: given.static ?? false,
    ...(given.guestSocket === undefined ? {} : { guestSocket: given.guestSocket }),
    ...(given.hostSocket === undefined ? {} : { hostSocket: given.hostSocket }),
  };
}
