import { expect, test } from "bun:test";
import { lineLog } from "../../lib/trace/log.ts";
import {
  pcapFileHeader,
  PCAP_RECORD_HEADER_LENGTH,
  writePcapRecordHeader,
} from "../../lib/trace/pcap.ts";
import { dump } from "../support/octets.ts";

test("pcapFileHeader() says nanoseconds, version 2.4, Ethernet", () => {
  const [magic, version, zone, figures, length, link] = [
    ...["4d3cb2a1", "02000400", "00000000", "00000000", "00000400", "01000000"],
  ];
  expect(dump(pcapFileHeader())).toBe([magic, version, zone, figures, length, link].join(""));
});

test("writePcapRecordHeader() splits the time into seconds and nanoseconds", () => {
  const record = new DataView(new ArrayBuffer(PCAP_RECORD_HEADER_LENGTH + 3));
  writePcapRecordHeader(record, 3, 1_700_000_000_250.5, 60);
  expect([3, 7, 11, 15].map((at) => record.getUint32(at, true))).toEqual([
    1_700_000_000, 250_500_000, 60, 60,
  ]);
});

test("lineLog() writes the levels that are wanted, and the others do not exist", () => {
  const lines: string[] = [];
  const log = lineLog(
    "warn",
    "text",
    () => 0,
    (line) => lines.push(line),
  );
  log.error('one "quoted" line\nand another');
  log.warn("two");
  expect(log.info).toBeUndefined();
  expect(log.debug).toBeUndefined();
  expect(lines).toEqual([
    'time="1970-01-01T00:00:00.000Z" level=error msg="one \\"quoted\\" line\\nand another"\n',
    'time="1970-01-01T00:00:00.000Z" level=warn msg="two"\n',
  ]);
});

test("lineLog() writes JSON, a line each", () => {
  const lines: string[] = [];
  lineLog(
    "debug",
    "json",
    () => 1000,
    (line) => lines.push(line),
  ).debug?.("x");
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { time: "1970-01-01T00:00:01.000Z", level: "debug", msg: "x" },
  ]);
});
