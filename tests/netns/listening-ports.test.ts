/** The script that tells a guest's ports, in the shells guests have, on the kernel's own tables of a network namespace. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { watchGuest } from "../../lib/daemon/forwards/guest-watch.ts";
import { canMakeNamespaces, Space } from "../support/lab.ts";

/** listens as it is told line by line: "tcp ADDRESS PORT", "udp …", "connected …", "close PORT", "tell" (that all before is done) */
const LISTENERS = `
import socket, sys
open_sockets = {}
for line in sys.stdin:
    kind, *rest = line.split()
    if kind == "tell":
        print("done")
        continue
    if kind == "close":
        open_sockets.pop(int(rest[0])).close()
        continue
    address, port = rest[0], int(rest[1])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.bind((address, port))
    if kind == "tcp": s.listen()
    if kind == "connected": s.connect(("127.0.0.1", 9))
    open_sockets[port] = s
`;

describe.skipIf(!canMakeNamespaces)("the script that tells a guest's ports", () => {
  const space = new Space(`ports${process.pid}`);
  const folder = mkdtempSync(join(tmpdir(), "lima-"));
  let listeners: ReturnType<Space["spawn"]>;
  const say = (line: string) => {
    const { stdin } = listeners as unknown as {
      stdin: { write(text: string): void; flush(): void };
    };
    stdin.write(`${line}\n`);
    stdin.flush();
  };
  beforeAll(async () => {
    await space.open({});
    await space.ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer0");
    await space.ip("addr", "add", "192.168.5.15/24", "dev", "eth0");
    await space.ip("link", "set", "eth0", "up");
    listeners = space.spawn("python3", "-uc", LISTENERS);
    for (const line of [
      "tcp 127.0.0.1 8001",
      "tcp ::1 8002",
      "tcp 0.0.0.0 8003",
      "tcp :: 8004",
      "tcp 192.168.5.15 8005",
      "udp 0.0.0.0 8006",
      "udp 127.0.0.1 8007",
      "udp ::1 8008",
      // asks 127.0.0.1, and answers nobody
      "connected 127.0.0.1 8009",
      "tcp ::ffff:127.0.0.1 8010",
      // the script reads one table after the other: a list of half of these is not what it is to tell
      "tell",
    ])
      say(line);
    await listeners.stdout.getReader().read();
  });
  afterAll(async () => {
    await space.close();
    rmSync(folder, { recursive: true });
  });

  /** a folder with these programs of BusyBox only */
  const busybox = (name: string, ...programs: string[]) => {
    const path = join(folder, name);
    Bun.spawnSync(["mkdir", path]);
    for (const program of programs) symlinkSync("/bin/busybox", join(path, program));
    return path;
  };
  const SHELLS: [string, () => string[]][] = [
    ["dash", () => ["dash"]],
    [
      "BusyBox",
      () => ["env", "-i", `PATH=${busybox("all", "grep", "od", "sleep")}`, "/bin/busybox", "sh"],
    ],
    [
      "BusyBox without od",
      () => ["env", "-i", `PATH=${busybox("few", "grep", "sleep")}`, "/bin/busybox", "sh"],
    ],
  ];

  test.each(SHELLS)(
    "%s tells what listens, what begins to and what ends",
    async (_name, shell) => {
      const over = new AbortController();
      const told: string[][] = [];
      const waiters: (() => void)[] = [];
      const watching = watchGuest({
        command: ["ip", "netns", "exec", space.name, ...shell()],
        signal: over.signal,
        onListeners: (now) => {
          told.push(now.map(({ protocol, ip, port }) => `${protocol} ${ip} ${port}`).toSorted());
          for (const wake of waiters.splice(0)) wake();
        },
        onReconnect: () => {},
        log: { error: () => {}, warn: (line) => told.push([line]) },
      });
      const next = () => new Promise<void>((resolve) => waiters.push(resolve));
      /** the first list that is as wanted */
      const until = async (wanted: (list: string[]) => boolean) => {
        while (!wanted(told.at(-1) ?? [])) await next();
        return told.at(-1);
      };
      expect(await until((list) => list.some((entry) => entry.startsWith("udp")))).toEqual([
        "tcp 0.0.0.0 8003",
        "tcp 127.0.0.1 8001",
        "tcp 127.0.0.1 8010",
        "tcp 192.168.5.15 8005",
        "tcp :: 8004",
        "tcp ::1 8002",
        "udp 0.0.0.0 8006",
        "udp 127.0.0.1 8007",
        "udp ::1 8008",
      ]);
      say("tcp 0.0.0.0 8100");
      say("udp 0.0.0.0 8101");
      await until((list) => list.includes("tcp 0.0.0.0 8100") && list.includes("udp 0.0.0.0 8101"));
      say("close 8100");
      say("close 8101");
      const last = await until((list) => !list.includes("tcp 0.0.0.0 8100"));
      expect(last).not.toContain("udp 0.0.0.0 8101");
      expect(last).toHaveLength(9);
      over.abort();
      await watching;
    },
    40_000,
  );

  test("it ends when nobody reads it any more", async () => {
    const { LISTENING_PORTS_SCRIPT } = await import("../../lib/guest/listening-ports.ts");
    const child = Bun.spawn(["dash"], {
      stdin: new Blob([LISTENING_PORTS_SCRIPT]),
      stdout: "pipe",
      stderr: "ignore",
    });
    const reader = child.stdout.getReader();
    await reader.read();
    await reader.cancel();
    // exit status 141: SIGPIPE; 2: the shell ignores it and echo fails
    expect(await child.exited).not.toBe(0);
  }, 20_000);
});
