/**
 * Writes a small ISO 9660 image (ECMA-119) with Rock Ridge names and modes (SUSP 1.12, RRIP 1.12): one folder of files,
 * which is all that a guest's configuration needs. The same input gives the same octets.
 */
const SECTOR = 2048;
const VOLUME_SECTOR = 16;
const TERMINATOR_SECTOR = 17;
const PATH_TABLE_L_SECTOR = 18;
const PATH_TABLE_M_SECTOR = 19;
const ROOT_SECTOR = 20;
const PATH_TABLE_LENGTH = 10;
const DIRECTORY_MODE = 0o040555;
const FILE_TYPE = 0o100000;

export interface IsoFile {
  name: string;
  /** permission bits, e.g. 0o755 */
  mode: number;
  content: Uint8Array;
}

/** The image's octets; `volume` is its label, `timeMs` the Unix time of everything in it. */
export function buildIso(volume: string, files: readonly IsoFile[], timeMs: number): Uint8Array {
  const sorted = files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const date = recordDate(timeMs);
  const records = (sectors: readonly number[], rootSectors: number) => [
    directoryRecord(new Uint8Array([0]), ROOT_SECTOR, rootSectors * SECTOR, true, date, [
      ...suspEntry("SP", [0xbe, 0xef, 0]),
      ...posixEntry(DIRECTORY_MODE, 1),
      ...suspEntry("ER", extensionReference()),
    ]),
    directoryRecord(
      new Uint8Array([1]),
      ROOT_SECTOR,
      rootSectors * SECTOR,
      true,
      date,
      posixEntry(DIRECTORY_MODE, 1),
    ),
    ...sorted.map((file, i) =>
      directoryRecord(shortName(i), sectors[i]!, file.content.length, false, date, [
        ...posixEntry(FILE_TYPE | file.mode, i + 2),
        ...suspEntry("NM", [0, ...new TextEncoder().encode(file.name)]),
      ]),
    ),
  ];
  // the folder's length does not depend on where the files stand, so it is measured first
  const rootSectors =
    layOut(
      records(
        sorted.map(() => 0),
        0,
      ),
    ).length / SECTOR;
  let next = ROOT_SECTOR + rootSectors;
  const sectors = sorted.map((file) => {
    const at = next;
    next += Math.ceil(file.content.length / SECTOR);
    return at;
  });
  const image = new Uint8Array(next * SECTOR);
  image.set(volumeDescriptor(volume, next, rootSectors * SECTOR, date), VOLUME_SECTOR * SECTOR);
  image.set([255, ...ascii("CD001"), 1], TERMINATOR_SECTOR * SECTOR);
  image.set(pathTable(true), PATH_TABLE_L_SECTOR * SECTOR);
  image.set(pathTable(false), PATH_TABLE_M_SECTOR * SECTOR);
  image.set(layOut(records(sectors, rootSectors)), ROOT_SECTOR * SECTOR);
  sorted.forEach((file, i) => image.set(file.content, sectors[i]! * SECTOR));
  return image;
}

/** ECMA-119 6.8.1.1: no record crosses the end of a sector. */
function layOut(records: readonly Uint8Array[]): Uint8Array {
  let at = 0;
  const places = records.map((record) => {
    if ((at % SECTOR) + record.length > SECTOR) at = Math.ceil(at / SECTOR) * SECTOR;
    const place = at;
    at += record.length;
    return place;
  });
  const extent = new Uint8Array(Math.ceil(at / SECTOR) * SECTOR);
  records.forEach((record, i) => extent.set(record, places[i]!));
  return extent;
}

/** ECMA-119 9.1 */
function directoryRecord(
  identifier: Uint8Array,
  sector: number,
  length: number,
  isFolder: boolean,
  date: readonly number[],
  systemUse: readonly number[],
): Uint8Array {
  const padded = 33 + identifier.length + ((identifier.length + 1) % 2);
  const record = new Uint8Array(padded + systemUse.length + (systemUse.length % 2));
  record[0] = record.length;
  record.set(both32(sector), 2);
  record.set(both32(length), 10);
  record.set(date, 18);
  record[25] = isFolder ? 2 : 0;
  record.set(both16(1), 28);
  record[32] = identifier.length;
  record.set(identifier, 33);
  record.set(systemUse, padded);
  return record;
}

/** a name that ECMA-119 level 1 allows; the real one is in the Rock Ridge entry */
const shortName = (index: number): Uint8Array =>
  new Uint8Array(ascii(`F${String(index).padStart(7, "0")}.;1`));

/** SUSP 5: signature, length, version 1, data */
const suspEntry = (signature: string, data: readonly number[]): number[] => [
  ...ascii(signature),
  4 + data.length,
  1,
  ...data,
];

/** RRIP 4.1.1 PX: mode, links, user, group, serial number; files of the same number would be one file */
const posixEntry = (mode: number, serial: number): number[] =>
  suspEntry("PX", [...both32(mode), ...both32(1), ...both32(0), ...both32(0), ...both32(serial)]);

/** SUSP 5.5 ER: says that the Rock Ridge entries are meant */
function extensionReference(): number[] {
  const identifier = ascii("RRIP_1991A");
  return [identifier.length, 0, 0, 1, ...identifier];
}

/** ECMA-119 8.4 */
function volumeDescriptor(
  volume: string,
  sectors: number,
  rootLength: number,
  date: readonly number[],
): Uint8Array {
  const out = new Uint8Array(SECTOR);
  const text = (at: number, length: number, value: string) =>
    out.set(ascii(value.padEnd(length, " ")), at);
  out.set([1, ...ascii("CD001"), 1]);
  text(8, 32, "LINUX");
  text(40, 32, volume);
  out.set(both32(sectors), 80);
  out.set(both16(1), 120);
  out.set(both16(1), 124);
  out.set(both16(SECTOR), 128);
  out.set(both32(PATH_TABLE_LENGTH), 132);
  const view = new DataView(out.buffer);
  view.setUint32(140, PATH_TABLE_L_SECTOR, true);
  view.setUint32(148, PATH_TABLE_M_SECTOR, false);
  out.set(directoryRecord(new Uint8Array([0]), ROOT_SECTOR, rootLength, true, date, []), 156);
  for (const [at, length] of [
    [190, 128],
    [318, 128],
    [446, 128],
    [574, 128],
    [702, 37],
    [739, 37],
    [776, 37],
  ] as const) {
    text(at, length, "");
  }
  // the four dates are left unspecified: sixteen zero digits and a zero offset
  for (const at of [813, 830, 847, 864]) text(at, 16, "0000000000000000");
  out[881] = 1;
  return out;
}

/** ECMA-119 9.4: the root alone */
function pathTable(littleEndian: boolean): Uint8Array {
  const table = new DataView(new ArrayBuffer(PATH_TABLE_LENGTH));
  table.setUint8(0, 1);
  table.setUint32(2, ROOT_SECTOR, littleEndian);
  table.setUint16(6, 1, littleEndian);
  return new Uint8Array(table.buffer);
}

/** ECMA-119 9.1.5 */
function recordDate(timeMs: number): number[] {
  const date = new Date(timeMs);
  return [
    date.getUTCFullYear() - 1900,
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
    0,
  ];
}

const ascii = (text: string): number[] => [...new TextEncoder().encode(text)];

/** ECMA-119 7.2.3 and 7.3.3: little-endian, then big-endian */
function both16(value: number): number[] {
  return [value & 255, (value >>> 8) & 255, (value >>> 8) & 255, value & 255];
}

function both32(value: number): number[] {
  const little = [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255];
  return [...little, ...little.toReversed()];
}
