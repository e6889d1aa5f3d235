import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { followHosts } from "../../lib/daemon/live-hosts.ts";
import type { HostTable } from "../../lib/service/dns/static-hosts.ts";
import { until } from "../support/until.ts";

const LIMIT = 20_000;
let home: string;
let set: HostTable[];
let warnings: string[];
let isRefused: boolean;
let following: Promise<void>;
const ending = { now: new AbortController() };

const write = (hosts: string) =>
  writeFileSync(
    join(home, "vm/lima.yaml"),
    `images: [{ location: /none, arch: x86_64 }]\nhostResolver: { hosts: ${hosts} }\n`,
  );

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "limanet-hosts-"));
  mkdirSync(join(home, "vm"));
  set = [];
  warnings = [];
  isRefused = false;
  ending.now = new AbortController();
  write("{ a.test: 192.0.2.1 }");
  following = followHosts(
    home,
    "vm",
    { "a.test": "192.0.2.1" },
    async (hosts) => {
      if (isRefused) throw new Error("refused");
      set.push(hosts);
    },
    { error: () => {}, warn: (line) => void warnings.push(line) },
    ending.now.signal,
  );
});
afterEach(async () => {
  ending.now.abort();
  await following;
  rmSync(home, { recursive: true, force: true });
});

test(
  "a change is set once; a wrong one is told once and changes nothing; its mending counts",
  async () => {
    write("{ b.test: 192.0.2.2 }");
    await until(() => set.length > 0);
    write("{ b.test: [] }");
    await until(() => warnings.length > 0);
    await Bun.sleep(1500);
    write("{ c.test: 192.0.2.3 }");
    await until(() => set.length > 1);
    expect(set).toEqual([{ "b.test": "192.0.2.2" }, { "c.test": "192.0.2.3" }]);
    expect(warnings).toEqual([expect.stringContaining("lima.yaml:2:")]);
  },
  LIMIT,
);

test(
  "what the network does not take is tried again with the next change",
  async () => {
    isRefused = true;
    write("{ b.test: 192.0.2.2 }");
    await until(() => warnings.length > 0);
    isRefused = false;
    write("{ b.test:   192.0.2.2 }");
    await until(() => set.length > 0);
    expect(warnings).toEqual(["refused"]);
    expect(set).toEqual([{ "b.test": "192.0.2.2" }]);
  },
  LIMIT,
);
