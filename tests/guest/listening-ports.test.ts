/** What a guest says of its ports: taken, or refused in a sentence. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ListeningPorts, MAX_LISTENERS } from "../../lib/guest/listening-ports.ts";

const table = (lists: Record<string, unknown>, order: unknown = "little") =>
  JSON.stringify({ order, tcp: [], tcp6: [], udp: [], udp6: [], ...lists });
/** the listeners in short, or the complaint */
const told = (ports: ListeningPorts, line: string) => {
  const answer = ports.onLine(line);
  return typeof answer === "string"
    ? answer
    : answer.map(({ protocol, ip, port }) => `${protocol} ${ip} ${port}`);
};

const WEB = "00000000:0050";
const DNS = "0100007F:0035";

describe("ListeningPorts", () => {
  test("sockets of all four tables are told, each once", () => {
    const ports = new ListeningPorts();
    const line = table({
      tcp: [WEB, WEB],
      tcp6: ["00000000000000000000000000000000:0050"],
      udp: [DNS],
      udp6: ["00000000000000000000000001000000:0035"],
    });
    expect(told(ports, line)).toEqual(["tcp 0.0.0.0 80", "tcp :: 80"]);
    expect(told(ports, "{}")).toEqual([
      "tcp 0.0.0.0 80",
      "tcp :: 80",
      "udp 127.0.0.1 53",
      "udp ::1 53",
    ]);
  });

  test("a UDP socket that is there for a moment is not told", () => {
    const ports = new ListeningPorts();
    expect(told(ports, table({ udp: [DNS] }))).toEqual([]);
    expect(told(ports, table({}))).toEqual([]);
    expect(told(ports, table({ udp: [DNS] }))).toEqual([]);
    expect(told(ports, table({ udp: [DNS], tcp: [WEB] }))).toEqual([
      "tcp 0.0.0.0 80",
      "udp 127.0.0.1 53",
    ]);
    expect(told(ports, table({}))).toEqual([]);
  });

  test("{} before anything else is an empty list", () => {
    expect(told(new ListeningPorts(), "{}")).toEqual([]);
  });

  test("a big-endian guest is understood", () => {
    expect(told(new ListeningPorts(), table({ tcp: ["7F000001:0050"] }, "big"))).toEqual([
      "tcp 127.0.0.1 80",
    ]);
  });

  test("port 0 is no port", () => {
    expect(told(new ListeningPorts(), table({ tcp: ["00000000:0000"] }))).toEqual([]);
  });

  test.each([
    ["", /not JSON/],
    ["hello", /not JSON/],
    ['{"order":"little","tcp":["0000', /not JSON, or longer than/],
    ["[]", /no JSON object/],
    ["null", /no JSON object/],
    ["7", /no JSON object/],
    [table({}, "middle"), /octet order/],
    [table({ tcp: undefined }), /no list tcp/],
    [table({ udp6: {} }), /no list udp6/],
    [table({ tcp: ["127.0.0.1:80"] }), /something in tcp that is no endpoint/],
    [table({ tcp: [80] }), /something in tcp that is no endpoint/],
    [table({ tcp6: [[WEB]] }), /something in tcp6 that is no endpoint/],
  ])("%j changes nothing and is complained about", (line, pattern) => {
    const ports = new ListeningPorts();
    const before = told(ports, table({ tcp: [WEB] }));
    expect(ports.onLine(line)).toMatch(pattern);
    expect(told(ports, "{}")).toEqual(before);
  });

  test("more listeners than are looked at are none", () => {
    const many = (count: number) =>
      table({
        tcp: Array.from(
          { length: count },
          (_, i) => `00000000:${(i + 1).toString(16).padStart(4, "0")}`,
        ),
      });
    expect(told(new ListeningPorts(), many(MAX_LISTENERS))).toHaveLength(MAX_LISTENERS);
    expect(told(new ListeningPorts(), many(MAX_LISTENERS + 1))).toMatch(/more than 1024 ports/);
  });

  test("whatever a guest says, nothing is thrown", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.json())), (lines) => {
        const ports = new ListeningPorts();
        for (const line of lines) ports.onLine(line);
      }),
    );
  });
});
