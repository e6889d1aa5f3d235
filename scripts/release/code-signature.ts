/**
 * Code signatures of Mach-O files (the blobs of xnu's osfmk/kern/cs_blobs.h, big-endian): made ad hoc, that is without a
 * certificate, and checked page by page. What Apple's codesign does with a certificate is scripts/notarize's matter.
 */
import { createHash } from "node:crypto";
import { entitlementsDer, entitlementsXml } from "./entitlements.ts";
import { parseMachO, withSignatureRoom, type MachO } from "./mach-o.ts";

const MAGIC = {
  requirement: 0xfade0c01,
  codeDirectory: 0xfade0c02,
  embedded: 0xfade0cc0,
  wrapper: 0xfade0b01,
  entitlements: 0xfade7171,
  derEntitlements: 0xfade7172,
} as const;
const SLOT = {
  codeDirectory: 0,
  requirements: 2,
  entitlements: 5,
  derEntitlements: 7,
  wrapper: 0x10000,
} as const;
const CS_ADHOC = 0x2;
const CS_RUNTIME = 0x10000;
const CS_EXECSEG_MAIN_BINARY = 1n;
/** with the hardened runtime's version, the newest fields */
const VERSION = 0x20500;
const DIRECTORY_LENGTH = 96;
const HASH_SHA256 = 2;
const HASH_LENGTH = 32;
const PAGE_BITS = 12;
const PAGE = 1 << PAGE_BITS;
/** room is a multiple of it, as Apple's tools have it */
const ALIGNMENT = 16;

export interface SignOptions {
  identifier: string;
  /** keys that are true; undefined: none, as a library has */
  entitlements: readonly string[] | undefined;
}

const sha256 = (octets: Uint8Array): Uint8Array => createHash("sha256").update(octets).digest();

/** The file with an ad-hoc signature in place of the one it has. */
export function sign(octets: Uint8Array, { identifier, entitlements }: SignOptions): Uint8Array {
  const parsed = parseMachO(octets);
  const text = new TextEncoder();
  const slots = new Map<number, Uint8Array>([
    // no requirements: a set of none
    [SLOT.requirements, blob(MAGIC.requirement, new Uint8Array(4))],
  ]);
  if (entitlements !== undefined) {
    const xml = text.encode(entitlementsXml(entitlements));
    slots.set(SLOT.entitlements, blob(MAGIC.entitlements, xml));
    const der = entitlementsDer(entitlements);
    slots.set(SLOT.derEntitlements, blob(MAGIC.derEntitlements, der));
  }
  const pages = Math.ceil(parsed.signature.offset / PAGE);
  const special = Math.max(...slots.keys());
  const name = text.encode(`${identifier}\0`);
  const directoryLength = DIRECTORY_LENGTH + name.length + (special + pages) * HASH_LENGTH;
  const wrapper = blob(MAGIC.wrapper, new Uint8Array(0));
  const others = [...slots.values(), wrapper].reduce((sum, { length }) => sum + length, 0);
  const index = 12 + (slots.size + 2) * 8;
  const size = Math.ceil((index + directoryLength + others) / ALIGNMENT) * ALIGNMENT;
  // the load commands are in the first page, whose hash must know them
  const out = withSignatureRoom(octets, parsed, size);
  const directory = codeDirectory(out, parsed, slots, { special, pages, name });
  const signature = superBlob([[SLOT.codeDirectory, directory], ...slots, [SLOT.wrapper, wrapper]]);
  out.set(signature, parsed.signature.offset);
  return out;
}

function codeDirectory(
  file: Uint8Array,
  { signature, text, isExecutable, sdk }: MachO,
  slots: ReadonlyMap<number, Uint8Array>,
  { special, pages, name }: { special: number; pages: number; name: Uint8Array },
): Uint8Array {
  const hashesAt = DIRECTORY_LENGTH + name.length + special * HASH_LENGTH;
  const out = new Uint8Array(hashesAt + pages * HASH_LENGTH);
  const view = new DataView(out.buffer);
  const words = [
    MAGIC.codeDirectory,
    out.length,
    VERSION,
    CS_ADHOC | (isExecutable ? CS_RUNTIME : 0),
    hashesAt,
    DIRECTORY_LENGTH,
    special,
    pages,
    signature.offset,
  ];
  words.forEach((word, i) => view.setUint32(4 * i, word));
  out.set([HASH_LENGTH, HASH_SHA256, 0, PAGE_BITS], 36);
  view.setBigUint64(64, BigInt(text.fileOffset));
  view.setBigUint64(72, BigInt(text.fileSize));
  view.setBigUint64(80, isExecutable ? CS_EXECSEG_MAIN_BINARY : 0n);
  view.setUint32(88, isExecutable ? sdk : 0);
  out.set(name, DIRECTORY_LENGTH);
  // slots are counted backwards from the first page
  for (const [slot, octets] of slots) out.set(sha256(octets), hashesAt - slot * HASH_LENGTH);
  for (let page = 0; page < pages; page++)
    out.set(pageHash(file, page, signature.offset), hashesAt + page * HASH_LENGTH);
  return out;
}

const pageHash = (file: Uint8Array, page: number, limit: number): Uint8Array =>
  sha256(file.subarray(page * PAGE, Math.min(limit, (page + 1) * PAGE)));

function blob(magic: number, content: Uint8Array): Uint8Array {
  const out = new Uint8Array(8 + content.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, magic);
  view.setUint32(4, out.length);
  out.set(content, 8);
  return out;
}

function superBlob(parts: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  const index = new Uint8Array(4 + 8 * parts.length);
  const view = new DataView(index.buffer);
  view.setUint32(0, parts.length);
  let at = 8 + index.length;
  parts.forEach(([slot, { length }], i) => {
    view.setUint32(4 + 8 * i, slot);
    view.setUint32(8 + 8 * i, at);
    at += length;
  });
  const content = new Uint8Array(at - 8);
  content.set(index);
  let to = index.length;
  for (const [, octets] of parts) {
    content.set(octets, to);
    to += octets.length;
  }
  return blob(MAGIC.embedded, content);
}

/** What a thin file's signature says, and whether it is so. */
export interface SignatureReport {
  architecture: string;
  identifier: string;
  isAdHoc: boolean;
  isHardened: boolean;
  pages: number;
  /** numbers of the pages that are not what was signed */
  wrongPages: number[];
  /** octets in front of the signature that it says nothing about */
  unsigned: number;
  /** slots of the parts that are not what was signed */
  wrongParts: number[];
  entitlements: string | undefined;
  derEntitlements: Uint8Array | undefined;
}

/** Checks every page and part. Throws a sentence when there is no signature that could be read. */
export function inspect(file: Uint8Array): SignatureReport {
  const { architecture, signature } = parseMachO(file);
  const whole = file.subarray(signature.offset, signature.offset + signature.size);
  const parts = partsOf(whole);
  const directory = parts.get(SLOT.codeDirectory);
  if (directory === undefined) throw new Error("a signature without a code directory");
  const view = new DataView(directory.buffer, directory.byteOffset, directory.byteLength);
  const [flags, hashesAt, nameAt, special, pages, limit] = [12, 16, 20, 24, 28, 32].map((at) =>
    view.getUint32(at),
  ) as [number, number, number, number, number, number];
  if (directory[36] !== HASH_LENGTH || directory[37] !== HASH_SHA256 || directory[39] !== PAGE_BITS)
    throw new Error("a signature with hashes or pages of another kind");
  if (hashesAt + pages * HASH_LENGTH > directory.length || limit > signature.offset)
    throw new Error("a code directory that says more than it holds");
  const hash = (slot: number) =>
    directory.subarray(hashesAt + slot * HASH_LENGTH, hashesAt + (slot + 1) * HASH_LENGTH);
  const isEqual = (a: Uint8Array, b: Uint8Array) => a.every((octet, i) => octet === b[i]);
  const content = (slot: number) => parts.get(slot)?.subarray(8);
  const xml = content(SLOT.entitlements);
  return {
    architecture,
    identifier: new TextDecoder().decode(directory.subarray(nameAt, directory.indexOf(0, nameAt))),
    isAdHoc: (flags & CS_ADHOC) !== 0,
    isHardened: (flags & CS_RUNTIME) !== 0,
    pages,
    wrongPages: Array.from({ length: pages }, (_, page) => page).filter(
      (page) => !isEqual(hash(page), pageHash(file, page, limit)),
    ),
    unsigned: signature.offset - limit,
    wrongParts: [...parts]
      .filter(([slot]) => slot > 0 && slot < SLOT.wrapper)
      .filter(([slot, octets]) => slot > special || !isEqual(hash(-slot), sha256(octets)))
      .map(([slot]) => slot),
    entitlements: xml === undefined ? undefined : new TextDecoder().decode(xml),
    derEntitlements: content(SLOT.derEntitlements),
  };
}

/** slot → blob, alternate code directories and all */
function partsOf(signature: Uint8Array): Map<number, Uint8Array> {
  const view = new DataView(signature.buffer, signature.byteOffset, signature.byteLength);
  if (signature.length < 12 || view.getUint32(0) !== MAGIC.embedded)
    throw new Error("without a signature that can be read");
  const parts = new Map<number, Uint8Array>();
  for (let left = view.getUint32(8), at = 12; left > 0; left--, at += 8) {
    if (at + 8 > signature.length) throw new Error("a signature that is cut short");
    const offset = view.getUint32(at + 4);
    if (offset + 8 > signature.length) throw new Error("a signature that is cut short");
    const length = view.getUint32(offset + 4);
    if (length < 8 || offset + length > signature.length)
      throw new Error("a signature that is cut short");
    parts.set(view.getUint32(at), signature.subarray(offset, offset + length));
  }
  return parts;
}
