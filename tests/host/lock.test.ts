import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  fstatSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  isLocked,
  lockHolder,
  tryLockForChild,
  tryLockPidFile,
  withLock,
} from "../../lib/host/lock.ts";

let folder: string;
let pidFile: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-lock-"));
  pidFile = join(folder, "daemon.pid");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Another process that takes the lock, says whether it got it, and keeps it until it is ended. */
async function holder(): Promise<{
  pid: number;
  said: string;
  end(signal: "SIGKILL" | "SIGTERM"): Promise<void>;
}> {
  const module = new URL("../../lib/host/lock.ts", import.meta.url).pathname;
  const script = `
    const { tryLockPidFile } = await import(${JSON.stringify(module)});
    process.stdout.write(tryLockPidFile(${JSON.stringify(pidFile)}) === undefined ? "refused" : "locked");
    setInterval(() => {}, 1000);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  const { value } = await child.stdout.getReader().read();
  return {
    pid: child.pid,
    said: new TextDecoder().decode(value),
    async end(signal) {
      child.kill(signal);
      await child.exited;
    },
  };
}

test("tryLockPidFile() writes the pid of its process and removes the file on release", () => {
  const lock = tryLockPidFile(pidFile);
  expect(readFileSync(pidFile, "utf8")).toBe(`${process.pid}\n`);
  lock?.release();
  expect(existsSync(pidFile)).toBe(false);
});

test("tryLockPidFile() refuses while another process holds the lock, and that one's pid stays in the file", async () => {
  const other = await holder();
  expect(other.said).toBe("locked");
  expect(tryLockPidFile(pidFile)).toBeUndefined();
  expect(readFileSync(pidFile, "utf8")).toBe(`${other.pid}\n`);
  expect(lockHolder(pidFile)).toBe(other.pid);
  await other.end("SIGKILL");
});

test("lockHolder() and tryLockPidFile() know that a holder killed with -9 is gone", async () => {
  const other = await holder();
  await other.end("SIGKILL");
  expect(existsSync(pidFile)).toBe(true);
  expect(lockHolder(pidFile)).toBe(0);
  const lock = tryLockPidFile(pidFile);
  expect(readFileSync(pidFile, "utf8")).toBe(`${process.pid}\n`);
  lock?.release();
});

test("a lock ends with its holder even while a process that the holder started lives on", async () => {
  const module = new URL("../../lib/host/lock.ts", import.meta.url).pathname;
  const script = `
    const { tryLockPidFile } = await import(${JSON.stringify(module)});
    tryLockPidFile(${JSON.stringify(pidFile)});
    const child = Bun.spawn(["sleep", "60"], { detached: true, stdio: ["ignore", "ignore", "ignore"] });
    process.stdout.write(String(child.pid));
    setInterval(() => {}, 1000);`;
  const daemon = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  const { value } = await daemon.stdout.getReader().read();
  const grandchild = Number(new TextDecoder().decode(value));
  try {
    expect(lockHolder(pidFile)).toBe(daemon.pid);
    daemon.kill("SIGKILL");
    await daemon.exited;
    expect(lockHolder(pidFile)).toBe(0);
  } finally {
    process.kill(grandchild, "SIGKILL");
  }
});

test.each([
  ["the pid of a living process that holds no lock", `${process.pid}\n`],
  ["no number", "rubbish"],
  ["nothing", ""],
])("lockHolder() is 0 for a file with %s, and the file can be locked", (_name, content) => {
  writeFileSync(pidFile, content);
  expect(lockHolder(pidFile)).toBe(0);
  const lock = tryLockPidFile(pidFile);
  expect(lock).toBeDefined();
  expect(readFileSync(pidFile, "utf8")).toBe(`${process.pid}\n`);
  lock?.release();
});

test("lockHolder() is 0 when there is no file, and makes none", () => {
  expect(lockHolder(pidFile)).toBe(0);
  expect(existsSync(pidFile)).toBe(false);
});

test("a lock taken while others ask who holds it is seen by them and refused to a second taker", async () => {
  // lockHolder() must never make a taker fail, nor remove a file that somebody is just locking
  const asking = Bun.spawn(
    [
      process.execPath,
      "-e",
      `const { lockHolder } = await import(${JSON.stringify(new URL("../../lib/host/lock.ts", import.meta.url).pathname)});
       process.stdout.write("asking");
       for (;;) lockHolder(${JSON.stringify(pidFile)});`,
    ],
    { stdout: "pipe", stderr: "inherit" },
  );
  try {
    await asking.stdout.getReader().read();
    for (let round = 0; round < 500; round++) {
      const lock = tryLockPidFile(pidFile);
      expect(lock).toBeDefined();
      expect(lockHolder(pidFile)).toBe(process.pid);
      lock?.release();
    }
  } finally {
    asking.kill("SIGKILL");
    await asking.exited;
  }
});

test.each(["file", "folder"])(
  "withLock() on a %s lets one at a time in, and the next after a failure",
  async (kind) => {
    const path = kind === "folder" ? folder : join(folder, "lock");
    if (kind === "file") writeFileSync(path, "");
    const order: string[] = [];
    const work = (name: string, fails: boolean) => async () => {
      order.push(`${name} begins`);
      await Bun.sleep(30);
      order.push(`${name} ends`);
      if (fails) throw new Error(name);
    };
    const results = await Promise.allSettled([
      withLock(path, work("a", true)),
      withLock(path, work("b", false)),
    ]);
    expect(results.map((result) => result.status).toSorted()).toEqual(["fulfilled", "rejected"]);
    expect(order).toEqual(["a begins", "a ends", "b begins", "b ends"]);
  },
);

test("withLock() does not run on what was removed while it waited", async () => {
  const path = join(folder, "network");
  mkdirSync(path);
  const gate = Promise.withResolvers<void>();
  const first = withLock(path, async () => {
    await gate.promise;
    rmSync(path, { recursive: true });
    mkdirSync(path);
  });
  let inside = "";
  const second = withLock(path, async (lock) => {
    inside = fstatSync(lock).ino === statSync(path).ino ? "the new one" : "the old one";
  });
  gate.resolve();
  await Promise.all([first, second]);
  expect(inside).toBe("the new one");
});

test("withLock() makes nothing, and fails where nothing is", async () => {
  const path = join(folder, "nothing");
  await expect(withLock(path, async () => {})).rejects.toThrow("ENOENT");
  expect(existsSync(path)).toBe(false);
});

test("a lock handed to a child is held although its starter is killed, until the child lets go of it", async () => {
  const module = new URL("../../lib/host/lock.ts", import.meta.url).pathname;
  const child = `const { releaseHandedLock } = await import(${JSON.stringify(module)});
    process.on("SIGUSR1", () => { releaseHandedLock(); process.stdout.write("released"); });
    process.stdout.write(String(process.pid));
    setInterval(() => {}, 1000);`;
  const starter = Bun.spawn(
    [
      process.execPath,
      "-e",
      `const { withLock } = await import(${JSON.stringify(module)});
       await withLock(${JSON.stringify(folder)}, async (lock) => {
         Bun.spawn([process.execPath, "-e", ${JSON.stringify(child)}], { detached: true, stdio: ["ignore", "inherit", "inherit", lock] });
         await new Promise(() => setInterval(() => {}, 1000));
       });`,
    ],
    { stdout: "pipe", stderr: "inherit" },
  );
  const output = starter.stdout.getReader();
  const said = async () => new TextDecoder().decode((await output.read()).value);
  const pid = Number(await said());
  try {
    starter.kill("SIGKILL");
    await starter.exited;
    expect(isLocked(folder)).toBe(true);
    process.kill(pid, "SIGUSR1");
    expect(await said()).toBe("released");
    expect(isLocked(folder)).toBe(false);
  } finally {
    process.kill(pid, "SIGKILL");
  }
});

test("tryLockForChild() gives a lock that ends with the child, and that nobody else gets meanwhile", async () => {
  const path = join(folder, "qemu.lock");
  const lock = tryLockForChild(path)!;
  const child = Bun.spawn(["sleep", "60"], { stdio: ["ignore", "ignore", "ignore", lock.fd] });
  lock.close();
  expect(isLocked(path)).toBe(true);
  expect(tryLockForChild(path)).toBeUndefined();
  child.kill("SIGKILL");
  await child.exited;
  expect(isLocked(path)).toBe(false);
});

test.each<[string, (victim: string) => void, RegExp]>([
  ["a symbolic link", (victim) => symlinkSync(victim, pidFile), /it is a symbolic link/],
  [
    "a second name",
    (victim) => linkSync(victim, pidFile),
    /it is not a file of that one name alone/,
  ],
])("%s in the pid file's place leads nobody to write elsewhere", (_what, place, why) => {
  const victim = join(folder, "victim");
  writeFileSync(victim, "somebody else's\n");
  place(victim);
  expect(lockHolder(pidFile)).toBe(0);
  expect(() => tryLockPidFile(pidFile)).toThrow(why);
  expect(() => tryLockForChild(pidFile)).toThrow(why);
  expect(readFileSync(victim, "utf8")).toBe("somebody else's\n");
});

test("a symbolic link that leads to nothing makes nobody create a file there", () => {
  symlinkSync(join(folder, "victim"), pidFile);
  expect(() => tryLockPidFile(pidFile)).toThrow("it is a symbolic link");
  expect(existsSync(join(folder, "victim"))).toBe(false);
});

test("nobody waits for a FIFO in the pid file's place", () => {
  expect(Bun.spawnSync(["mkfifo", pidFile]).success).toBe(true);
  const module = new URL("../../lib/host/lock.ts", import.meta.url).pathname;
  const script = `
    const { isLocked, lockHolder, tryLockPidFile } = await import(${JSON.stringify(module)});
    const file = ${JSON.stringify(pidFile)};
    console.log(lockHolder(file), isLocked(file));
    try { tryLockPidFile(file); } catch (error) { console.log(error.message); }`;
  // in a process of its own, since one that waits to open a FIFO could not even be told of the time
  const { stdout, exitCode } = Bun.spawnSync([process.execPath, "-e", script], { timeout: 4000 });
  expect(stdout.toString()).toBe(
    `0 false\nCannot lock ${pidFile}: it is not a file of that one name alone (remove it)\n`,
  );
  expect(exitCode).toBe(0);
});

test("release() leaves alone what somebody else has put in the file's place", () => {
  const lock = tryLockPidFile(pidFile);
  rmSync(pidFile);
  writeFileSync(pidFile, "somebody else's\n");
  lock?.release();
  expect(readFileSync(pidFile, "utf8")).toBe("somebody else's\n");
});
