import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sshPublicKey } from "../../lib/instance/ssh.ts";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "limanet-ssh-"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

test("sshPublicKey() makes one key pair, whoever asks at the same time", async () => {
  const keys = await Promise.all([1, 2, 3].map(() => sshPublicKey(home)));
  expect(new Set(keys).size).toBe(1);
  expect(keys[0]).toMatch(/^ssh-ed25519 \S+ lima$/);
  expect(await sshPublicKey(home)).toBe(keys[0]!);
  expect(readdirSync(join(home, "_config")).toSorted()).toEqual(["user", "user.pub"]);
  expect(statSync(join(home, "_config/user")).mode & 0o777).toBe(0o600);
});

test.each([
  ["a key without its public half", ["user.tmp"]],
  ["both halves of a key that nobody uses", ["user.tmp", "user.tmp.pub"]],
  ["the public half alone", ["user.pub", "user.tmp"]],
])("sshPublicKey() begins anew where somebody was killed who had made %s", async (_name, left) => {
  mkdirSync(join(home, "_config"));
  for (const name of left) writeFileSync(join(home, "_config", name), "half");
  expect(await sshPublicKey(home)).toMatch(/^ssh-ed25519 /);
  expect(readdirSync(join(home, "_config")).toSorted()).toEqual(["user", "user.pub"]);
});
