/**
 * The thread that waits in getaddrinfo(3), so that nobody else has to. Requests come and answers go by message, one
 * after the other.
 */
import { CString, dlopen, ptr, read, type Pointer } from "bun:ffi";
import type { SystemAnswer } from "../service/dns/responder.ts";
import { onMessage, postToMain } from "./thread.ts";

export interface ResolverRequest {
  id: number;
  name: string;
  family: 4 | 6;
}

export interface ResolverReply {
  id: number;
  answer: SystemAnswer;
}

const AF_INET = 2;
const AF_INET6 = process.platform === "darwin" ? 30 : 10;
const SOCK_STREAM = 1;
const AI_CANONNAME = 2;
const IS_DARWIN = process.platform === "darwin";
// netdb.h: the numbers differ between the C libraries' families only in sign and on macOS
const EAI_NONAME = IS_DARWIN ? 8 : -2;
const EAI_NODATA = IS_DARWIN ? 7 : -5;
const EAI_ADDRFAMILY = IS_DARWIN ? 1 : -9;

const library = IS_DARWIN
  ? ["libSystem.B.dylib"]
  : ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

const { getaddrinfo, freeaddrinfo } = open();

function open() {
  for (const name of library) {
    try {
      return dlopen(name, {
        getaddrinfo: { args: ["ptr", "ptr", "ptr", "ptr"], returns: "i32" },
        freeaddrinfo: { args: ["ptr"], returns: "void" },
      }).symbols;
    } catch {
      // the next name is tried
    }
  }
  throw new Error(`Cannot open the C library: none of ${library.join(", ")} is there`);
}

function lookup(name: string, family: 4 | 6): SystemAnswer {
  const cName = new TextEncoder().encode(`${name}\0`);
  // struct addrinfo: flags 0, family 4, socktype 8, protocol 12, addrlen 16; then addr and canonname, whose order
  // differs: 24 and 32 on Linux, 32 and 24 on macOS; next 40
  const hints = new DataView(new ArrayBuffer(48));
  hints.setInt32(0, AI_CANONNAME, true);
  hints.setInt32(4, family === 4 ? AF_INET : AF_INET6, true);
  hints.setInt32(8, SOCK_STREAM, true);
  const result = new BigUint64Array(1);
  const code = getaddrinfo(ptr(cName), null, ptr(hints), ptr(result));
  if (code === EAI_NONAME) return { kind: "no-such-name" };
  if (code === EAI_NODATA || code === EAI_ADDRFAMILY) return { kind: "no-data" };
  if (code !== 0) return { kind: "failure" };
  const addresses: string[] = [];
  let canonical: string | undefined;
  const first = Number(result[0]!) as Pointer;
  for (let info = first; info !== 0; info = read.ptr(info, 40) as Pointer) {
    const canonicalAt = read.ptr(info, IS_DARWIN ? 24 : 32) as Pointer;
    if (canonical === undefined && canonicalAt !== 0)
      canonical = new CString(canonicalAt).toString();
    const address = read.ptr(info, IS_DARWIN ? 32 : 24) as Pointer;
    addresses.push(family === 4 ? ipv4At(address) : ipv6At(address));
  }
  freeaddrinfo(first);
  return { kind: "addresses", addresses: [...new Set(addresses)], canonicalName: canonical };
}

function ipv4At(socketAddress: Pointer): string {
  return [4, 5, 6, 7].map((at) => read.u8(socketAddress, at)).join(".");
}

function ipv6At(socketAddress: Pointer): string {
  const groups: string[] = [];
  for (let at = 8; at < 24; at += 2) {
    groups.push(((read.u8(socketAddress, at) << 8) | read.u8(socketAddress, at + 1)).toString(16));
  }
  return groups.join(":");
}

onMessage((message) => {
  const { id, name, family } = message as ResolverRequest;
  let answer: SystemAnswer;
  try {
    answer = lookup(name, family);
  } catch {
    answer = { kind: "failure" };
  }
  postToMain({ id, answer } satisfies ResolverReply);
});
