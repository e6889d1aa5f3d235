import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectQmp } from "../../lib/host/qmp-client.ts";

const QEMU = Bun.which("qemu-system-x86_64");
const GREETING = `{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":0}},"capabilities":["oob"]}}\r\n`;

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "limanet-qmp-"));
  path = join(folder, "qmp.sock");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A monitor that greets, and answers each command with what `answer` gives, a few octets at a time. */
function monitor(answer: (command: string) => string, greeting = GREETING) {
  return Bun.listen({
    unix: path,
    socket: {
      open: (socket) => void socket.write(greeting),
      async data(socket, octets) {
        const { execute } = JSON.parse(octets.toString("utf8")) as { execute: string };
        const text = answer(execute);
        if (text === "hang up") {
          socket.terminate();
          return;
        }
        for (let at = 0; at < text.length; at += 7) {
          socket.write(text.slice(at, at + 7));
          await Bun.sleep(1);
        }
      },
    },
  });
}

test("connectQmp() gives results and events that arrive in pieces, the events apart", async () => {
  const events: string[] = [];
  const server = monitor((command) =>
    command === "query-status"
      ? `{"event":"POWERDOWN","timestamp":{"seconds":1,"microseconds":2}}\r\n{"return":{"status":"running"}}\r\n`
      : `{"return":{}}\r\n`,
  );
  const client = await connectQmp(path, (name) => events.push(name));
  expect(await client.execute("query-status")).toEqual({ status: "running" });
  expect(events).toEqual(["POWERDOWN"]);
  client.close();
  server.stop(true);
});

test("connectQmp() refuses a server that does not speak QMP", async () => {
  const server = monitor(() => "", "SSH-2.0-OpenSSH_9\r\n");
  await expect(connectQmp(path, () => {})).rejects.toThrow();
  server.stop(true);
});

test("execute() rejects with QEMU's own sentence, and the next command still works", async () => {
  const server = monitor((command) =>
    command === "nonsense"
      ? `{"error":{"class":"CommandNotFound","desc":"The command nonsense has not been found"}}\r\n`
      : `{"return":{}}\r\n`,
  );
  const client = await connectQmp(path, () => {});
  await expect(client.execute("nonsense")).rejects.toThrow(
    "The command nonsense has not been found",
  );
  expect(await client.execute("query-version")).toEqual({});
  client.close();
  server.stop(true);
});

test("execute() rejects when QEMU dies before it answers", async () => {
  const server = monitor((command) =>
    command === "qmp_capabilities" ? `{"return":{}}\r\n` : "hang up",
  );
  const client = await connectQmp(path, () => {});
  await expect(client.execute("system_powerdown")).rejects.toThrow("QEMU has closed its monitor");
  await client.execute("query-status").catch(() => {});
  server.stop(true);
});

test("connectQmp() rejects when nobody listens", async () => {
  await expect(connectQmp(path, () => {})).rejects.toThrow();
});

test.skipIf(QEMU === null)(
  "connectQmp() drives a real QEMU to its end (needs qemu-system-x86_64)",
  async () => {
    const qemu = Bun.spawn(
      [
        QEMU!,
        "-M",
        "none",
        "-S",
        "-display",
        "none",
        "-nodefaults",
        "-qmp",
        `unix:${path},server=on,wait=off`,
      ],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    try {
      const events: string[] = [];
      const connect = async () => {
        for (;;) {
          try {
            return await connectQmp(path, (name) => events.push(name));
          } catch {
            if (qemu.exitCode !== null) throw new Error("QEMU ended at once");
            await Bun.sleep(20);
          }
        }
      };
      const client = await connect();
      expect(await client.execute("query-status")).toMatchObject({ running: false });
      await client.execute("cont");
      expect(await client.execute("query-status")).toMatchObject({ running: true });
      await expect(client.execute("no_such_command")).rejects.toThrow("no_such_command");
      await client.execute("quit").catch(() => {});
      expect(await qemu.exited).toBe(0);
      expect(events).toContain("RESUME");
      await expect(client.execute("query-status")).rejects.toThrow("QEMU has closed its monitor");
    } finally {
      qemu.kill("SIGKILL");
    }
  },
  20_000,
);
