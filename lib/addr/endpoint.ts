/** An address and a port in the text forms of the control API. */
export interface Endpoint {
  /** IPv4 or IPv6 literal; "" stands for all addresses */
  host: string;
  port: number;
}

/** "IP:PORT", "[IPv6]:PORT" or ":PORT"; undefined for anything else. The host part is not looked at further. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const port = Number(match[3]);
  return port > 65535 ? undefined : { host: match[1] ?? match[2] ?? "", port };
}

export function formatEndpoint(endpoint: Endpoint): string {
  return endpoint.host.includes(":")
    ? `[${endpoint.host}]:${endpoint.port}`
    : `${endpoint.host}:${endpoint.port}`;
}
