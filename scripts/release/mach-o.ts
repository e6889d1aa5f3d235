/** Mach-O files as far as signing needs them: the load commands of <mach-o/loader.h>, thin 64-bit little-endian only. */

const MH_MAGIC_64 = 0xfeedfacf;
const FAT_MAGIC = 0xcafebabe;
const MH_EXECUTE = 2;
const HEADER_LENGTH = 32;
const FAT_HEADER_LENGTH = 8;
const FAT_ARCH_LENGTH = 20;
const LC_SEGMENT_64 = 0x19;
const LC_CODE_SIGNATURE = 0x1d;
const LC_BUILD_VERSION = 0x32;
const CPU_TYPE_X86_64 = 0x01000007;
const CPU_TYPE_ARM64 = 0x0100000c;

interface Segment {
  /** offset of its load command */
  at: number;
  fileOffset: number;
  fileSize: number;
}

export interface MachO {
  architecture: "x86_64" | "arm64";
  isExecutable: boolean;
  text: Segment;
  linkEdit: Segment;
  /** offset of the load command LC_CODE_SIGNATURE */
  signatureAt: number;
  signature: { offset: number; size: number };
  /** version of the SDK it was linked against, as in LC_BUILD_VERSION: 0xMMMMmmpp */
  sdk: number;
}

const viewOf = (octets: Uint8Array): DataView =>
  new DataView(octets.buffer, octets.byteOffset, octets.byteLength);

/** Throws a sentence for what is none, or cannot be signed in place. */
export function parseMachO(octets: Uint8Array): MachO {
  const view = viewOf(octets);
  if (octets.length < HEADER_LENGTH || view.getUint32(0, true) !== MH_MAGIC_64)
    throw new Error("not a 64-bit Mach-O file of a little-endian machine");
  const cpu = view.getUint32(4, true);
  if (cpu !== CPU_TYPE_X86_64 && cpu !== CPU_TYPE_ARM64)
    throw new Error(`for a processor that is not known here (0x${cpu.toString(16)})`);
  const segments = new Map<string, Segment>();
  let signatureAt = -1;
  let sdk = 0;
  let at = HEADER_LENGTH;
  for (let left = view.getUint32(16, true); left > 0; left--) {
    if (at + 8 > octets.length) throw new Error("cut short within its load commands");
    const command = view.getUint32(at, true);
    const size = view.getUint32(at + 4, true);
    if (size < 8 || at + size > octets.length)
      throw new Error(`a load command at ${at} has a wrong size`);
    if (command === LC_SEGMENT_64) {
      const fileOffset = Number(view.getBigUint64(at + 40, true));
      const fileSize = Number(view.getBigUint64(at + 48, true));
      segments.set(nameAt(octets, at + 8), { at, fileOffset, fileSize });
    } else if (command === LC_CODE_SIGNATURE) signatureAt = at;
    else if (command === LC_BUILD_VERSION) sdk = view.getUint32(at + 16, true);
    at += size;
  }
  const text = segments.get("__TEXT");
  const linkEdit = segments.get("__LINKEDIT");
  if (text === undefined || linkEdit === undefined || signatureAt < 0)
    throw new Error("without __TEXT, __LINKEDIT or a place for a signature");
  const signature = {
    offset: view.getUint32(signatureAt + 8, true),
    size: view.getUint32(signatureAt + 12, true),
  };
  const isAtTheEnd =
    signature.offset + signature.size === octets.length &&
    linkEdit.fileOffset + linkEdit.fileSize === octets.length &&
    signature.offset >= linkEdit.fileOffset;
  if (!isAtTheEnd) throw new Error("with a signature that is not its end");
  return {
    architecture: cpu === CPU_TYPE_ARM64 ? "arm64" : "x86_64",
    isExecutable: view.getUint32(12, true) === MH_EXECUTE,
    text,
    linkEdit,
    signatureAt,
    signature,
    sdk,
  };
}

function nameAt(octets: Uint8Array, at: number): string {
  const name = octets.subarray(at, at + 16);
  const end = name.indexOf(0);
  return new TextDecoder().decode(name.subarray(0, end < 0 ? 16 : end));
}

/** The file with room of a size for its signature, and the load commands that say so. */
export function withSignatureRoom(octets: Uint8Array, parsed: MachO, size: number): Uint8Array {
  const { linkEdit, signature, signatureAt, architecture } = parsed;
  const out = new Uint8Array(signature.offset + size);
  out.set(octets.subarray(0, signature.offset));
  const view = viewOf(out);
  view.setUint32(signatureAt + 12, size, true);
  const fileSize = BigInt(out.length - linkEdit.fileOffset);
  const page = architecture === "arm64" ? 0x4000n : 0x1000n;
  view.setBigUint64(linkEdit.at + 32, ((fileSize + page - 1n) / page) * page, true);
  view.setBigUint64(linkEdit.at + 48, fileSize, true);
  return out;
}

/** The thin files in a file: itself, or what a universal one holds (<mach-o/fat.h>, big-endian). */
export function slicesOf(octets: Uint8Array): Uint8Array[] {
  const view = viewOf(octets);
  if (octets.length < FAT_HEADER_LENGTH || view.getUint32(0) !== FAT_MAGIC) return [octets];
  return Array.from({ length: view.getUint32(4) }, (_, i) => {
    const at = FAT_HEADER_LENGTH + i * FAT_ARCH_LENGTH;
    if (at + FAT_ARCH_LENGTH > octets.length) throw new Error("cut short within its header");
    const offset = view.getUint32(at + 8);
    const size = view.getUint32(at + 12);
    if (offset + size > octets.length) throw new Error("cut short within one of its parts");
    return octets.subarray(offset, offset + size);
  });
}
