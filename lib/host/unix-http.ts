/**
 * HTTP/1.1 (RFC 9112) on a unix socket, for the control API. Bun's own server can neither hand the connection over to
 * something that is not HTTP nor close it when the client asks, so requests are read here: strictly, with bounds.
 */
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { createConnection } from "node:net";
import { duplicate } from "./descriptors.ts";
import { listenSteadily } from "./steady-listener.ts";

const MAX_HEAD = 16 * 1024;
const MAX_BODY = 1024 * 1024;

export interface HttpRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  body: Uint8Array;
}

export interface HttpResponse {
  status: number;
  /** JSON value, or text */
  json?: unknown;
  text?: string;
  /**
   * The connection is HTTP no longer: `text` is all that is said, then this function owns its descriptor; `early` has
   * been read from it already.
   */
  takeOver?: (fd: number, early: Uint8Array) => void;
}

export type HttpHandler = (request: HttpRequest) => Promise<HttpResponse>;

export interface HttpServer {
  close(): void;
}

interface Connection {
  input: Uint8Array;
  busy: boolean;
  output: Uint8Array[];
  closeWhenWritten: boolean;
}

/** Serves on a socket of mode 0600; a stale socket file is replaced. Throws when the address is in use. */
export async function serveUnixHttp(path: string, handler: HttpHandler): Promise<HttpServer> {
  await removeStale(path);
  const listener = listenSteadily(() => listen(path, handler));
  return {
    close() {
      listener.stop(true);
      removeSocket(path);
    },
  };
}

function listen(path: string, handler: HttpHandler): Bun.UnixSocketListener<Connection> {
  // what was closed for a while has left its file
  removeSocket(path);
  const before = process.umask(0o177);
  try {
    const listener = Bun.listen<Connection>({
      unix: path,
      allowHalfOpen: true,
      socket: {
        open(socket) {
          socket.data = {
            input: new Uint8Array(0),
            busy: false,
            output: [],
            closeWhenWritten: false,
          };
        },
        data(socket, octets) {
          socket.data.input = concat(socket.data.input, octets);
          void next(socket, handler);
        },
        drain: flush,
        end(socket) {
          if (!socket.data.busy) socket.end();
          else socket.data.closeWhenWritten = true;
        },
        // a client that goes away is none of our business
        error() {},
      },
    });
    chmodSync(path, 0o600);
    return listener;
  } finally {
    process.umask(before);
  }
}

function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // there is none: Bun may have removed it
  }
}

/** Reads one request after the other; the next one waits until the last is answered. */
async function next(socket: Bun.Socket<Connection>, handler: HttpHandler): Promise<void> {
  const connection = socket.data;
  if (connection.busy) return;
  const parsed = parse(connection.input);
  if (parsed === "incomplete") return;
  if (typeof parsed === "number") {
    respond(socket, { status: parsed, text: `${STATUS[parsed]}\n` }, true);
    return;
  }
  connection.input = parsed.rest;
  connection.busy = true;
  let response: HttpResponse;
  try {
    response = await handler(parsed.request);
  } catch (error) {
    response = { status: 500, text: `${(error as Error).message}\n` };
  }
  connection.busy = false;
  if (response.takeOver !== undefined) {
    handOver(socket, response.text ?? "", response.takeOver);
    return;
  }
  respond(socket, response, parsed.close || connection.closeWhenWritten);
  if (connection.input.length > 0) await next(socket, handler);
}

/** Bun lets go of the connection; its descriptor lives on as a duplicate. */
function handOver(
  socket: Bun.Socket<Connection>,
  greeting: string,
  owner: NonNullable<HttpResponse["takeOver"]>,
): void {
  if (socket.write(greeting) < greeting.length) {
    socket.terminate();
    return;
  }
  const { fd } = socket as unknown as { fd: number };
  const own = duplicate(fd);
  const early = socket.data.input;
  socket.terminate();
  if (own >= 0) owner(own, early);
}

interface Parsed {
  request: HttpRequest;
  rest: Uint8Array;
  close: boolean;
}

/** A whole request, "incomplete", or the status that refuses it. */
function parse(input: Uint8Array): Parsed | "incomplete" | 400 | 413 | 431 | 501 {
  const text = new TextDecoder("latin1").decode(input.subarray(0, MAX_HEAD));
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd < 0) return input.length >= MAX_HEAD ? 431 : "incomplete";
  const [first, ...lines] = text.slice(0, headEnd).split("\r\n");
  const line = /^([A-Z]+) (\S+) HTTP\/1\.([01])$/.exec(first ?? "");
  if (line === null) return 400;
  const headers = new Map<string, string>();
  for (const header of lines) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(header);
    if (match === null) return 400;
    const name = match[1]!.toLowerCase();
    // two lengths would let two readers see two different requests
    if (headers.has(name) && (name === "content-length" || name === "transfer-encoding"))
      return 400;
    headers.set(name, match[2]!);
  }
  const bodyStart = headEnd + 4;
  let body: Uint8Array;
  let end: number;
  if (headers.has("transfer-encoding")) {
    if (headers.get("transfer-encoding")?.toLowerCase() !== "chunked") return 501;
    const chunked = readChunks(input, bodyStart);
    if (chunked === "incomplete" || typeof chunked === "number") return chunked;
    ({ body, end } = chunked);
  } else {
    const length = headers.get("content-length") ?? "0";
    if (!/^\d{1,9}$/.test(length)) return 400;
    if (Number(length) > MAX_BODY) return 413;
    end = bodyStart + Number(length);
    if (input.length < end) return "incomplete";
    body = input.slice(bodyStart, end);
  }
  let url: URL;
  try {
    // a proxy-style target carries its own host; it is of no interest
    url = new URL(line[2]!, "http://limanet");
  } catch {
    return 400;
  }
  const connection = headers.get("connection")?.toLowerCase();
  return {
    request: { method: line[1]!, path: url.pathname, query: url.searchParams, body },
    rest: input.slice(end),
    close: connection === "close" || (line[3] === "0" && connection !== "keep-alive"),
  };
}

function readChunks(
  input: Uint8Array,
  start: number,
): { body: Uint8Array; end: number } | "incomplete" | 400 | 413 {
  const text = new TextDecoder("latin1").decode(input);
  const parts: Uint8Array[] = [];
  let total = 0;
  for (let at = start; ;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd < 0) return input.length - at > 1024 ? 400 : "incomplete";
    const size = /^([0-9a-fA-F]{1,6})(?:;.*)?$/.exec(text.slice(at, lineEnd));
    if (size === null) return 400;
    const length = Number.parseInt(size[1]!, 16);
    if (length === 0) {
      const end = text.indexOf("\r\n", lineEnd + 2);
      // trailers are not used by any client of this API
      if (end < 0) return "incomplete";
      return end === lineEnd + 2
        ? { body: parts.reduce(concat, new Uint8Array(0)), end: end + 2 }
        : 400;
    }
    total += length;
    if (total > MAX_BODY) return 413;
    const chunkEnd = lineEnd + 2 + length;
    if (input.length < chunkEnd + 2) return "incomplete";
    parts.push(input.slice(lineEnd + 2, chunkEnd));
    at = chunkEnd + 2;
  }
}

const STATUS: Record<number, string> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
};

function respond(socket: Bun.Socket<Connection>, response: HttpResponse, close: boolean): void {
  const isJson = response.json !== undefined;
  const body = new TextEncoder().encode(
    isJson ? `${JSON.stringify(response.json)}\n` : (response.text ?? ""),
  );
  const head = [
    `HTTP/1.1 ${response.status} ${STATUS[response.status] ?? "Status"}`,
    `Content-Type: ${isJson ? "application/json" : "text/plain; charset=utf-8"}`,
    `Content-Length: ${body.length}`,
    ...(close ? ["Connection: close"] : []),
    "",
    "",
  ].join("\r\n");
  socket.data.closeWhenWritten = close;
  send(socket, concat(new TextEncoder().encode(head), body));
}

function send(socket: Bun.Socket<Connection>, octets: Uint8Array): void {
  socket.data.output.push(octets);
  flush(socket);
}

function flush(socket: Bun.Socket<Connection>): void {
  const { output } = socket.data;
  while (output.length > 0) {
    const first = output[0]!;
    const written = socket.write(first);
    if (written < first.length) {
      output[0] = first.subarray(Math.max(0, written));
      return;
    }
    output.shift();
  }
  if (socket.data.closeWhenWritten) socket.end();
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b.slice();
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Removes a socket file that nobody serves. */
async function removeStale(path: string): Promise<void> {
  try {
    if (!lstatSync(path).isSocket())
      throw new Error(
        `Cannot listen on ${path}: a file that is no socket stands there (move it away)`,
      );
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return;
    throw error;
  }
  if (await isServed(path))
    throw new Error(`Cannot listen on ${path}: another process serves it (stop that one first)`);
  unlinkSync(path);
}

/** Does anybody accept connections on a unix socket? */
export async function isServed(path: string): Promise<boolean> {
  try {
    const socket = await Bun.connect({ unix: path, socket: { data() {}, error() {} } });
    socket.end();
    return true;
  } catch {
    return false;
  }
}

/** Waits until the server of a unix socket has closed our connection, as it does when it ends, or until the signal. */
export async function connectionEnd(path: string, signal: AbortSignal): Promise<void> {
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  try {
    const socket = await Bun.connect({
      unix: path,
      socket: { data() {}, error: () => end(), close: () => end() },
    });
    signal.addEventListener("abort", () => end());
    if (!signal.aborted) await ended;
    socket.end();
  } catch {
    // nobody serves it
  }
}

/** Can we connect to a unix socket? "denied": perhaps somebody accepts, but not from us. */
export function tryUnixSocket(path: string): Promise<"served" | "dead" | "denied"> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve("served");
    });
    socket.once("error", (error: Error & { code?: string }) =>
      resolve(error.code === "EACCES" ? "denied" : "dead"),
    );
  });
}

/** A request to an HTTP server on a unix socket; the answer's status and body. */
export async function requestUnixHttp(
  path: string,
  method: string,
  target: string,
  json?: unknown,
  signal?: AbortSignal,
): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://lima${target}`, {
    unix: path,
    method,
    ...(json === undefined
      ? {}
      : { body: JSON.stringify(json), headers: { "Content-Type": "application/json" } }),
    ...(signal === undefined ? {} : { signal }),
  });
  return { status: response.status, body: await response.text() };
}
