/** Sockets that root gives to a group, in folders where somebody else may put what he likes. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventLoop } from "../../lib/host/event-loop.ts";
import { ListeningSockets } from "../../lib/host/listening-sockets.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("skipped: sockets that root gives to a group (they need root)\n");
/** one that every system has, and root is not in */
const GROUP = 1;

let folder: string;
let loop: EventLoop;
let sockets: ListeningSockets;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-sockets-"));
  loop = new EventLoop();
  sockets = new ListeningSockets(loop, () => 0);
});
afterEach(() => {
  loop.close();
  rmSync(folder, { recursive: true });
});

test.skipIf(!isRoot)("a socket for a group is the group's, and nothing else is left", () => {
  const path = join(folder, "net.sock");
  for (const fd of [
    sockets.listenUnix(path, { onAccept() {} }, { gid: GROUP }),
    sockets.bindUnixDatagram(`${path}.datagram`, { gid: GROUP }),
  ])
    expect(fd).toBeGreaterThan(0);
  expect(readdirSync(folder).toSorted()).toEqual(["net.sock", "net.sock.datagram"]);
  for (const name of readdirSync(folder)) {
    const { uid, gid, mode } = statSync(join(folder, name));
    expect({ uid, gid, mode: mode & 0o7777 }).toEqual({ uid: 0, gid: GROUP, mode: 0o770 });
  }
});

/** holds the step back in which a file gets its group */
const SLOWLY = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=?chown,?lchown,fchownat"];
const DELAY = ["-e", "inject=?chown,?lchown,fchownat:delay_enter=500000"];
const canDelay = isRoot && Bun.which("strace") !== null;
if (!canDelay) process.stderr.write("skipped: a socket that is exchanged meanwhile (strace)\n");

test.skipIf(!canDelay)(
  "whoever may write to the folder makes root give no other file to the group",
  async () => {
    const victim = join(folder, "victim");
    const open = join(folder, "open");
    writeFileSync(victim, "secret", { mode: 0o640 });
    mkdirSync(open);
    const module = (name: string) => new URL(`../../lib/host/${name}.ts`, import.meta.url).pathname;
    const script = `
      const { EventLoop } = await import(${JSON.stringify(module("event-loop"))});
      const { ListeningSockets } = await import(${JSON.stringify(module("listening-sockets"))});
      const sockets = new ListeningSockets(new EventLoop(), () => 0);
      sockets.listenUnix(${JSON.stringify(join(open, "net.sock"))}, { onAccept() {} }, { gid: ${GROUP} });
      process.exit(0);`;
    const root = Bun.spawn([...SLOWLY, ...DELAY, process.execPath, "-e", script], {
      stderr: "ignore",
    });
    const entries = () => readdirSync(open).filter((name) => name.startsWith("."));
    while (entries().length === 0 && root.exitCode === null) await Bun.sleep(1);
    const [made] = entries();
    const path = join(open, made!);
    while (statSync(path).isDirectory() && readdirSync(path).length === 0) await Bun.sleep(1);
    // he has seen it: what root has made goes away, and other names of the victim take its place
    const names = statSync(path).isDirectory() ? readdirSync(path) : undefined;
    renameSync(path, join(open, "away"));
    if (names === undefined) linkSync(victim, path);
    else {
      mkdirSync(path);
      for (const name of names) linkSync(victim, join(path, name));
    }
    await root.exited;
    expect(existsSync(join(open, "net.sock"))).toBe(true);
    const { gid, mode } = statSync(victim);
    expect({ gid, mode: mode & 0o7777 }).toEqual({ gid: 0, mode: 0o640 });
  },
);
