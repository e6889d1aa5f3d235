/** What a process that has given up system calls can do, and cannot any more; the filter itself is tests/privilege's. */
import { expect, test } from "bun:test";

const isLinux = process.platform === "linux";
if (!isLinux) process.stderr.write("skipped: the filter of system calls (it is Linux's)\n");
const isRoot = process.getuid?.() === 0;

/** Runs in a process of its own, since there is no way back: what each attempt came to, before and after. */
const ATTEMPTS = `
import { dlopen } from "bun:ffi";
import { openLibrary, abi, errno, errnoName } from "LIB/host/libc.ts";
import { confine } from "LIB/host/confinement.ts";
const { unshare, socket, close, ptrace, mount, sethostname, gethostname } = openLibrary(abi.libraries, {
  unshare: { args: ["i32"], returns: "i32" },
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  ptrace: { args: ["i64", "i32", "u64", "u64"], returns: "i64" },
  mount: { args: ["ptr", "ptr", "ptr", "u64", "ptr"], returns: "i32" },
});
const outcome = (result) => (Number(result) < 0 ? errnoName(errno()) : "done");
const open = (family, type) => {
  const fd = socket(family, type, 0);
  const said = outcome(fd);
  if (fd >= 0) close(fd);
  return said;
};
const text = (word) => new TextEncoder().encode(word + "\\0");
const attempts = () => ({
  "own namespace": outcome(unshare(0x04000000)),
  "mount": outcome(mount(text("none"), text("/nowhere/at/all"), text("tmpfs"), 0, text(""))),
  "trace": outcome(ptrace(16, 0, 0, 0)),
  "packets": open(17, 2),
  "stream": open(2, 1),
  "netlink": open(16, 3),
});
const worker = () =>
  new Promise((resolve) => {
    const thread = new Worker(URL.createObjectURL(new Blob(["postMessage(6 * 7)"])));
    thread.onmessage = ({ data }) => resolve(data);
  });
// a thread that is there already
const early = new Worker(URL.createObjectURL(new Blob([
  "const { readFileSync } = require('fs'); onmessage = () => postMessage(readFileSync('/proc/thread-self/status', 'utf8')); postMessage('ready')",
])));
await new Promise((resolve) => (early.onmessage = resolve));
const before = attempts();
const problem = confine();
const after = attempts();
const status = await new Promise((resolve) => {
  early.onmessage = ({ data }) => resolve(data);
  early.postMessage(0);
});
let sum = 0;
for (let i = 0; i < 3e6; i++) sum += i % 7;
const child = Bun.spawnSync(["/bin/sh", "-c", "cat /proc/self/status; unshare --uts true"]);
console.log(JSON.stringify({
  before, problem, after, status, sum, worker: await worker(),
  child: { status: child.stdout.toString(), said: child.stderr.toString() },
}));
process.exit(0);
`;

test.skipIf(!isLinux || !isRoot)(
  "calls that no daemon needs fail, in every thread and child; threads, children and sockets are as before",
  () => {
    const lib = new URL("../../lib", import.meta.url).pathname;
    const { stdout, stderr } = Bun.spawnSync([
      process.execPath,
      "-e",
      ATTEMPTS.replaceAll("LIB", lib),
    ]);
    expect(stderr.toString()).toBe("");
    const seen = JSON.parse(stdout.toString());
    expect(seen.problem).toBeUndefined();
    expect(seen.before).toEqual({
      "own namespace": "done",
      mount: "ENOENT",
      trace: expect.stringMatching(/ESRCH|errno 3/),
      packets: "done",
      stream: "done",
      netlink: "done",
    });
    expect(seen.after).toEqual({
      "own namespace": "EPERM",
      mount: "EPERM",
      trace: "EPERM",
      packets: "EAFNOSUPPORT",
      stream: "done",
      netlink: "done",
    });
    for (const status of [seen.status, seen.child.status])
      expect(status).toMatch(/^NoNewPrivs:\t1$[^]*^Seccomp:\t2$/m);
    expect(seen.child.said).toContain("unshare failed: Operation not permitted");
    expect({ worker: seen.worker, sum: seen.sum }).toEqual({ worker: 42, sum: 8_999_994 });
  },
);
