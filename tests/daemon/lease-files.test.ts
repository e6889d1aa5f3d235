import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { networkPaths, type NetworkPaths } from "../../lib/config/paths.ts";
import { takeOverLimaLeases, writeLimaLeases } from "../../lib/daemon/lease-files.ts";

const A = "52:55:55:00:00:0a";
const B = "52:55:55:00:00:0b";

let home: string;
let paths: NetworkPaths;
let warnings: string[];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "limanet-leases-"));
  paths = networkPaths(home, "n");
  mkdirSync(paths.dir, { recursive: true });
  warnings = [];
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const take = () => takeOverLimaLeases(paths, (sentence) => warnings.push(sentence));
const own = () =>
  (JSON.parse(readFileSync(paths.ownLeases, "utf8")) as { ip: string; mac: string }[]).map(
    ({ ip, mac }) => `${ip} ${mac}`,
  );

test.each([
  ["one that we know nothing of", { "10.0.0.5": A }, [], [`10.0.0.5 ${A}`]],
  [
    "one beside one of ours",
    { "10.0.0.5": A },
    [{ ip: "10.0.0.6", mac: B }],
    [`10.0.0.6 ${B}`, `10.0.0.5 ${A}`],
  ],
  [
    "none whose address is somebody else's with us",
    { "10.0.0.5": A },
    [{ ip: "10.0.0.5", mac: B }],
    [`10.0.0.5 ${B}`],
  ],
  [
    "none whose guest has another address with us",
    { "10.0.0.5": A },
    [{ ip: "10.0.0.6", mac: A }],
    [`10.0.0.6 ${A}`],
  ],
  ["none that is no text", { "10.0.0.5": 7 }, [{ ip: "10.0.0.6", mac: A }], [`10.0.0.6 ${A}`]],
])("takeOverLimaLeases() takes over %s", (_name, theirs, ours, expected) => {
  writeFileSync(paths.leases, JSON.stringify(theirs));
  writeFileSync(paths.ownLeases, JSON.stringify(ours));
  take();
  expect(own()).toEqual(expected);
  expect(warnings).toEqual([]);
});

test("takeOverLimaLeases() makes no file where Lima has left none", () => {
  take();
  expect(existsSync(paths.ownLeases)).toBe(false);
  expect(warnings).toEqual([]);
});

test.each(["{", "[]", "7", "null", ""])("takeOverLimaLeases() does not stumble over %p", (text) => {
  writeFileSync(paths.leases, text);
  take();
  expect(existsSync(paths.ownLeases)).toBe(false);
});

test("takeOverLimaLeases() says that a file cannot be read", () => {
  writeFileSync(paths.leases, `{"10.0.0.5": "${A}"`);
  take();
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain(paths.leases);
});

test("writeLimaLeases() writes what is in force and what is remembered, as one line of Lima's", () => {
  writeFileSync(paths.ownLeases, JSON.stringify([{ ip: "10.0.0.5", mac: A, expiresAt: 1 }]));
  writeLimaLeases(paths, JSON.stringify({ "10.0.0.2": B }));
  expect(readFileSync(paths.leases, "utf8")).toBe(`{"10.0.0.5":"${A}","10.0.0.2":"${B}"}\n`);
});
