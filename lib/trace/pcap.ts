/** The classic capture file format of libpcap, with nanosecond times and Ethernet frames. */
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const SNAPSHOT_LENGTH = 262_144;
export const PCAP_RECORD_HEADER_LENGTH = 16;

export function pcapFileHeader(): Uint8Array {
  const header = new DataView(new ArrayBuffer(24));
  header.setUint32(0, MAGIC_NANOSECONDS, true);
  header.setUint16(4, 2, true);
  header.setUint16(6, 4, true);
  header.setUint32(16, SNAPSHOT_LENGTH, true);
  header.setUint32(20, LINKTYPE_ETHERNET, true);
  return new Uint8Array(header.buffer);
}

/** Writes a record's header: Unix time in milliseconds, frame length in octets. */
export function writePcapRecordHeader(
  into: DataView,
  at: number,
  timeMs: number,
  length: number,
): void {
  const seconds = Math.floor(timeMs / 1000);
  into.setUint32(at, seconds, true);
  into.setUint32(at + 4, Math.floor((timeMs - seconds * 1000) * 1e6), true);
  into.setUint32(at + 8, length, true);
  into.setUint32(at + 12, length, true);
}
