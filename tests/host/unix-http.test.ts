/** HTTP on a unix socket: what clients of the API do, and what no client should. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  isServed,
  connectionEnd,
  requestUnixHttp,
  serveUnixHttp,
  type HttpServer,
} from "../../lib/host/unix-http.ts";

let folder: string;
let path: string;
let server: HttpServer;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "limanet-http-"));
  path = join(folder, "api.sock");
  server = await serveUnixHttp(path, async ({ method, path: target, query, body }) => {
    if (target === "/throw") throw new Error("it broke");
    return {
      status: 200,
      json: { method, target, query: [...query], body: new TextDecoder().decode(body) },
    };
  });
});
afterEach(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Sends octets and gives all that comes back until the server closes. */
const raw = (...pieces: string[]) =>
  new Promise<string>((resolve, reject) => {
    const socket = connect(path);
    let all = "";
    socket.on("data", (octets: Buffer) => (all += octets.toString("latin1")));
    socket.on("close", () => resolve(all));
    socket.on("error", reject);
    const next = (i: number) => {
      if (i === pieces.length) return;
      socket.write(pieces[i]!, "latin1", () => setTimeout(next, 1, i + 1));
    };
    next(0);
  });
const CLOSE = "Connection: close\r\n\r\n";

test("a request's method, path, query and body reach the handler, and its answer comes back", async () => {
  const { status, body } = await requestUnixHttp(path, "POST", "/a/b?x=1&y=%2F", { k: "v" });
  expect(status).toBe(200);
  expect(JSON.parse(body)).toEqual({
    method: "POST",
    target: "/a/b",
    query: [
      ["x", "1"],
      ["y", "/"],
    ],
    body: '{"k":"v"}',
  });
});

test("a handler that throws is a 500 with its sentence", async () => {
  expect(await requestUnixHttp(path, "GET", "/throw")).toEqual({ status: 500, body: "it broke\n" });
});

test("the socket is its user's alone", () => {
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("several requests go over one connection, also when they come at once", async () => {
  const get = (target: string, more = "\r\n") => `GET ${target} HTTP/1.1\r\nHost: x\r\n${more}`;
  const text = await raw(get("/1") + get("/2") + get("/3", CLOSE));
  expect([...text.matchAll(/"target":"(\/\d)"/g)].map(([, target]) => target)).toEqual([
    "/1",
    "/2",
    "/3",
  ]);
});

test("a request that comes in many pieces is one request", async () => {
  const text = await raw(
    ...Array.from("POST /p HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"),
  );
  expect(text).toContain('"body":"abc"');
});

test("a chunked body is put together (RFC 9112 7.1)", async () => {
  const text = await raw(
    `POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${CLOSE}3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n`,
  );
  expect(text).toContain('"body":"abcde"');
});

test("Connection: close and HTTP/1.0 are closed after the answer", async () => {
  expect(await raw(`GET / HTTP/1.1\r\n${CLOSE}`)).toMatch(
    /^HTTP\/1\.1 200 OK\r\n[\s\S]*Connection: close/,
  );
  expect(await raw("GET / HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 OK/);
});

test.each([
  ["no request line", "hello\r\n\r\n", 400],
  ["a header without a colon", "GET / HTTP/1.1\r\nnonsense\r\n\r\n", 400],
  ["a space before the colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400],
  ["two lengths", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400],
  ["a length that is none", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400],
  ["a chunk without a size", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400],
  ["a coding it does not know", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501],
  ["a body of 2 MiB", "POST / HTTP/1.1\r\nContent-Length: 2097152\r\n\r\n", 413],
  ["headers of 20 KB", `GET / HTTP/1.1\r\nX: ${"y".repeat(20_000)}\r\n\r\n`, 431],
])("%s is refused with %#", async (_what, text, status) => {
  expect(await raw(text)).toStartWith(`HTTP/1.1 ${status} `);
});

test("a client that goes away in the middle harms nobody", async () => {
  for (const text of ["GET", "POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"]) {
    await new Promise<void>((resolve) => {
      const socket = connect(path);
      socket.write(text, () => {
        socket.destroy();
        resolve();
      });
    });
  }
  expect((await requestUnixHttp(path, "GET", "/")).status).toBe(200);
});

test("a socket that is served is left alone, a stale one is replaced, another file is not touched", async () => {
  expect(await isServed(path)).toBe(true);
  await expect(serveUnixHttp(path, async () => ({ status: 200 }))).rejects.toThrow(
    /another process serves it/,
  );
  const file = join(folder, "file");
  writeFileSync(file, "mine");
  await expect(serveUnixHttp(file, async () => ({ status: 200 }))).rejects.toThrow(
    /no socket stands there/,
  );
  // a process that is killed leaves its socket
  const stale = join(folder, "stale.sock");
  const script = `require("net").createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, "SIGKILL"))`;
  await Bun.spawn([process.execPath, "-e", script]).exited;
  expect(existsSync(stale)).toBe(true);
  const second = await serveUnixHttp(stale, async () => ({ status: 200, text: "new" }));
  expect((await requestUnixHttp(stale, "GET", "/")).body).toBe("new");
  second.close();
  expect(existsSync(stale)).toBe(false);
});

test("connectionEnd() waits for the server's end, does not wait where nobody serves, and ends on the signal", async () => {
  const never = new AbortController().signal;
  const end = join(folder, "end.sock");
  await connectionEnd(end, never);
  const other = await serveUnixHttp(end, async () => ({ status: 200 }));
  await connectionEnd(end, AbortSignal.abort());
  let ended = false;
  const waiting = connectionEnd(end, never).then(() => {
    ended = true;
  });
  await Bun.sleep(50);
  expect(ended).toBe(false);
  other.close();
  await waiting;
});
