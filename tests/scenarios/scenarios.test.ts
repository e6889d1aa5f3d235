/** Every .scn file of this folder and of `network`; the languages are told in tests/support/tcp-scenario.ts, network-scenario.ts. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { playNetworkScenario } from "../support/network-scenario.ts";
import { playScenario } from "../support/tcp-scenario.ts";

const FOLDER = import.meta.dir;

test.each(readdirSync(FOLDER).filter((name) => name.endsWith(".scn")))("%s", (name) => {
  expect(() => playScenario(readFileSync(join(FOLDER, name), "utf8"))).not.toThrow();
});

test.each(readdirSync(join(FOLDER, "network")))("network/%s", (name) => {
  const text = readFileSync(join(FOLDER, "network", name), "utf8");
  expect(() => playNetworkScenario(text)).not.toThrow();
});

test("a network's scenario fails at the line that is not so", () => {
  expect(() => playNetworkScenario("< arp request 10.0.0.1\n> none\n")).toThrow(
    /^line 2: .*arp reply/,
  );
  expect(() => playNetworkScenario("< arp request 10.0.0.1\n@1\n")).toThrow(
    /^line 2: .*unexpected/,
  );
  expect(() => playNetworkScenario("< arp request 10.0.0.7\n> arp reply\n")).toThrow(
    /nothing was sent/,
  );
});

test("a scenario fails at the line that is not so", () => {
  const open = "< S 0:0(0) win 65535\n> S. 0:0(0) ack 1\n< . 1:1(0) ack 1\n";
  expect(() => playScenario(`${open}< . 1:101(100) ack 1\n> . 1:1(0) ack 100\n`)).toThrow(
    /^line 5: .*ack of .* 101, not 100/,
  );
  expect(() => playScenario(`${open}say 10\nstate ESTABLISHED\n`)).toThrow(/^line 5: .*unexpected/);
  expect(() => playScenario(`${open}> . 1:1(0) ack 1\n`)).toThrow(/nothing was sent/);
});
