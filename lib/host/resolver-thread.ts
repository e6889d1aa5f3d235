/**
 * A thread that waits in the C library's resolver, so that nobody else has to: getaddrinfo(3) for addresses,
 * res_query(3) for other records. Requests come and answers go by message, one after the other.
 */
import { CString, dlopen, read, type Pointer } from "bun:ffi";
import { isReply, isTruncated, rcodeOf, shapeOf, TYPE, u16 } from "../service/dns/message.ts";
import { RCODE } from "../service/dns/reply.ts";
import type { SystemAnswer } from "../service/dns/responder.ts";
import { onMessage, postToMain } from "./thread.ts";

export type ResolverRequest =
  | { kind: "addresses"; name: string; family: 4 | 6; withRaw: boolean }
  | { kind: "query"; name: string; type: number };

export type ResolverReply = SystemAnswer | Uint8Array | undefined;

const AF_INET = 2;
const IS_DARWIN = process.platform === "darwin";
const AF_INET6 = IS_DARWIN ? 30 : 10;
const SOCK_STREAM = 1;
const AI_CANONNAME = 2;
const CLASS_IN = 1;
const MAX_MESSAGE = 65535;
/** larger than struct __res_9_state of macOS (552 octets) */
const STATE_SIZE = 1024;
// netdb.h: the numbers differ between the C libraries' families only in sign and on macOS
const EAI_NONAME = IS_DARWIN ? 8 : -2;
const EAI_NODATA = IS_DARWIN ? 7 : -5;
const EAI_ADDRFAMILY = IS_DARWIN ? 1 : -9;

const GLIBC = "libc.so.6";
const MUSL = `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`;

const addressCalls = {
  getaddrinfo: { args: ["ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  freeaddrinfo: { args: ["ptr"], returns: "void" },
  setenv: { args: ["ptr", "ptr", "i32"], returns: "i32" },
} as const;

const { getaddrinfo, freeaddrinfo, setenv, isGlibc } = openAddressCalls();

function openAddressCalls() {
  const names = IS_DARWIN ? ["libSystem.B.dylib"] : [GLIBC, MUSL];
  for (const name of names) {
    try {
      return { ...dlopen(name, addressCalls).symbols, isGlibc: isGlibcThere() };
    } catch {
      // the next name is tried
    }
  }
  throw new Error(`Cannot open the C library: none of ${names.join(", ")} is there`);
}

/** musl's loader gives itself for the name of glibc's file. */
function isGlibcThere(): boolean {
  if (IS_DARWIN) return false;
  try {
    dlopen(GLIBC, { gnu_get_libc_version: { args: [], returns: "ptr" } });
    return true;
  } catch {
    return false;
  }
}

type Ask = (name: Uint8Array, type: number, answer: Uint8Array) => number;

/**
 * The C library's query call. glibc (in libresolv before 2.34) keeps a state for each thread and musl none, and both
 * read resolv.conf again when it has changed; macOS's state is made anew for each query for that.
 */
const ask = openQueryCall();

function openQueryCall(): Ask {
  if (IS_DARWIN) {
    const { res_9_ninit, res_9_nquery, res_9_ndestroy } = dlopen("libresolv.9.dylib", {
      res_9_ninit: { args: ["ptr"], returns: "i32" },
      res_9_nquery: { args: ["ptr", "ptr", "i32", "i32", "ptr", "i32"], returns: "i32" },
      res_9_ndestroy: { args: ["ptr"], returns: "void" },
    }).symbols;
    const state = new Uint8Array(STATE_SIZE);
    return (name, type, answer) => {
      state.fill(0);
      if (res_9_ninit(state) !== 0) return -1;
      const length = res_9_nquery(state, name, CLASS_IN, type, answer, MAX_MESSAGE);
      res_9_ndestroy(state);
      return length;
    };
  }
  const places = [
    [GLIBC, "res_query"],
    ["libresolv.so.2", "res_query"],
    ["libresolv.so.2", "__res_query"],
    [MUSL, "res_query"],
  ] as const;
  for (const [library, symbol] of places) {
    try {
      const { symbols } = dlopen(library, {
        [symbol]: { args: ["ptr", "i32", "i32", "ptr", "i32"], returns: "i32" },
      });
      const call = symbols[symbol] as (...words: unknown[]) => number;
      return (name, type, answer) => call(name, CLASS_IN, type, answer, MAX_MESSAGE);
    } catch {
      // the next place is tried
    }
  }
  // without it these types are failures, and addresses still work
  return () => -1;
}

/**
 * Guests have the host's search list and use it themselves: applied here once more it would find `www.corp.example`
 * for `www.example.test`. And guests do not wait longer than five seconds. For this process only.
 */
function setResolverOptions(): void {
  const set = (name: string, value: string, overwrite: number) =>
    setenv(cString(name), cString(value), overwrite);
  set("LOCALDOMAIN", ".", 1);
  set("RES_OPTIONS", "timeout:2 attempts:2", 0);
}
setResolverOptions();

function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

function addresses(name: string, family: 4 | 6, withRaw: boolean): SystemAnswer {
  // a final dot keeps musl and macOS from searching; glibc would not find such a name in the hosts file
  const found = lookUp(isGlibc ? name : `${name}.`, family);
  if (found.kind !== "addresses" || !withRaw) return found;
  const raw = query(name, family === 4 ? TYPE.A : TYPE.AAAA);
  return raw !== undefined && sharesAddress(raw, found.addresses, family)
    ? { ...found, raw }
    : found;
}

function lookUp(name: string, family: 4 | 6): SystemAnswer {
  const cName = cString(name);
  // struct addrinfo: flags 0, family 4, socktype 8, protocol 12, addrlen 16; then addr and canonname, whose order
  // differs: 24 and 32 on Linux, 32 and 24 on macOS; next 40
  const hints = new Int32Array(12);
  hints.set([AI_CANONNAME, family === 4 ? AF_INET : AF_INET6, SOCK_STREAM]);
  const result = new BigUint64Array(1);
  const code = getaddrinfo(cName, null, hints, result);
  if (code === EAI_NONAME) return { kind: "no-such-name" };
  if (code === EAI_NODATA || code === EAI_ADDRFAMILY) return { kind: "no-data" };
  if (code !== 0) return { kind: "failure" };
  const found: string[] = [];
  let canonical: string | undefined;
  const first = Number(result[0]!) as Pointer;
  for (let info = first; info !== 0; info = read.ptr(info, 40) as Pointer) {
    const canonicalAt = read.ptr(info, IS_DARWIN ? 24 : 32) as Pointer;
    if (canonical === undefined && canonicalAt !== 0)
      canonical = new CString(canonicalAt).toString();
    const address = read.ptr(info, IS_DARWIN ? 32 : 24) as Pointer;
    // struct sockaddr_in and sockaddr_in6
    const [at, length] = family === 4 ? [4, 4] : [8, 16];
    found.push(addressText(Uint8Array.from({ length }, (_, i) => read.u8(address, at + i))));
  }
  freeaddrinfo(first);
  return { kind: "addresses", addresses: [...new Set(found)], canonicalName: canonical };
}

function addressText(octets: Uint8Array): string {
  if (octets.length === 4) return octets.join(".");
  return Array.from({ length: 8 }, (_, i) => u16(octets, 2 * i).toString(16)).join(":");
}

const answer = new Uint8Array(MAX_MESSAGE);

/**
 * The reply as it came, whole. The call fails for "no such name" too, but leaves the reply that said so behind. musl
 * before 1.2.4 does not ask again by TCP.
 */
function query(name: string, type: number): Uint8Array | undefined {
  answer.fill(0, 0, 12);
  const length = ask(cString(name), type, answer);
  // glibc takes what is no reply for one
  if (length > MAX_MESSAGE || !isReply(answer) || isTruncated(answer)) return undefined;
  if (length >= 0) return answer.slice(0, length);
  if (rcodeOf(answer) === RCODE.SERVFAIL) return undefined;
  const shape = shapeOf(answer);
  return shape === undefined ? undefined : answer.slice(0, shape.end);
}

/** DNS itself says what the system's resolver says, if perhaps in part: so its aliases and TTLs hold. */
function sharesAddress(raw: Uint8Array, found: readonly string[], family: 4 | 6): boolean {
  const type = family === 4 ? TYPE.A : TYPE.AAAA;
  return (
    shapeOf(raw)?.records.some(
      (record) =>
        record.section === "answer" &&
        record.type === type &&
        found.includes(addressText(raw.subarray(record.dataAt, record.end))),
    ) ?? false
  );
}

onMessage((message) => {
  const request = message as ResolverRequest;
  let reply: ResolverReply;
  try {
    reply =
      request.kind === "query"
        ? query(request.name, request.type)
        : addresses(request.name, request.family, request.withRaw);
  } catch {
    reply = request.kind === "query" ? undefined : { kind: "failure" };
  }
  postToMain(reply satisfies ResolverReply);
});
