/** Port forwards of real machines, from the compiled executable, by an ordinary user. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { ForwardRow } from "../../lib/daemon/forwards/forward-states.ts";
import { NETTOOL } from "../support/lab.ts";
import { guestYaml, Home } from "../support/machines.ts";

const LIMIT = 90_000;
/** ports of the host that this run has for itself */
const BASE = 22_000 + (process.pid % 900) * 10;
const [WEB, RANGE, NEW, UDP, TAKEN, LOCAL] = [
  BASE,
  BASE + 1,
  BASE + 4,
  BASE + 5,
  BASE + 6,
  BASE + 7,
];

let home: Home;
beforeAll(() => {
  home = new Home(".cache/guest", ["vmlinuz", "initrd"]);
});
afterAll(() => home.close(), LIMIT);

const rows = async (name: string): Promise<ForwardRow[]> =>
  (JSON.parse(await home.must("list", "--json", name)) as { forwards: ForwardRow[] }).forwards;
const rowOf = async (name: string, host: string) =>
  (await rows(name)).find((row) => row.host === host);
const events = (name: string) =>
  readFileSync(join(home.limanetHome, name, "ha.stdout.log"), "utf8")
    .trim()
    .split("\n")
    .flatMap((line) => {
      const { status } = JSON.parse(line) as { status?: { portForward?: Record<string, string> } };
      return status?.portForward === undefined ? [] : [status.portForward];
    });

/** what a web server answers; undefined when nobody does */
const ask = async (place: string, unix?: string): Promise<string | undefined> => {
  try {
    const socket = unix === undefined ? {} : { unix };
    return (await (await fetch(`http://${place}/`, { ...socket, keepalive: false })).text()).trim();
  } catch {
    return undefined;
  }
};
async function until<T>(look: () => Promise<T>, wanted: (seen: T) => boolean): Promise<T> {
  for (;;) {
    const seen = await look();
    if (wanted(seen)) return seen;
    await Bun.sleep(100);
  }
}
const answers = (place: string, unix?: string) =>
  until(
    () => ask(place, unix),
    (text) => text !== undefined,
  );
const isSilent = (place: string, unix?: string) =>
  until(
    () => ask(place, unix),
    (text) => text === undefined,
  );

/** Has the guest serve "from PLACE". */
const serve = (name: string, place: string) =>
  home.must(
    ...["shell", name, "sh", "-c"],
    `mkdir -p /tmp/w${place}; echo from ${place} >/tmp/w${place}/index.html; httpd -p ${place} -h /tmp/w${place}`,
  );
const stopServing = (name: string, place: string) =>
  home.must(
    ...["shell", name, "sh", "-c"],
    `ps | grep "[h]ttpd -p ${place} " | while read -r pid _; do kill "$pid"; done`,
  );

describe("an instance on the default network", () => {
  let busy: ReturnType<Home["spawn"]>;
  let said: string;
  beforeAll(async () => {
    busy = home.spawn(["busybox", "httpd", "-f", "-p", `127.0.0.1:${TAKEN}`, "-h", "/"]);
    await answers(`127.0.0.1:${TAKEN}`);
    const forwards = `portForwards:
- { guestPort: 8000, hostPort: ${WEB}, static: true, proto: tcp }
- { guestPortRange: [8100, 8102], hostPortRange: [${RANGE}, ${RANGE + 2}], static: true, proto: tcp }
- { guestPort: 8001, hostPort: ${TAKEN}, static: true, proto: tcp }
- { guestPort: 8002, hostPort: 1023, static: true, proto: tcp }
- { guestPort: 9000, hostPort: ${NEW}, proto: tcp }
- { guestPort: 9001, hostSocket: web.sock, proto: tcp }
- { guestPort: 9200, hostPort: ${UDP}, proto: udp }
- { guestPort: 9002, hostPort: ${LOCAL} }
`;
    const { code, stderr } = await home.limanet(
      ...["start", "--name", "ports", home.template("ports", guestYaml(home, forwards))],
    );
    said = stderr;
    expect(code).toBe(0);
  }, LIMIT);
  afterAll(() => busy.kill());

  test("static forwards are there at once, on both loopback addresses, each port of a range", async () => {
    expect(await rowOf("ports", `127.0.0.1:${WEB}`)).toEqual({
      protocol: "tcp",
      guest: "127.0.0.1:8000",
      host: `127.0.0.1:${WEB}`,
      bound: [`127.0.0.1:${WEB}`, `[::1]:${WEB}`],
      via: "network",
      state: "forwarding",
    });
    await serve("ports", "8000");
    await serve("ports", "8100");
    await serve("ports", "8102");
    expect(await ask(`127.0.0.1:${WEB}`)).toBe("from 8000");
    expect(await ask(`[::1]:${WEB}`)).toBe("from 8000");
    expect(await ask(`127.0.0.1:${RANGE}`)).toBe("from 8100");
    expect(await ask(`[::1]:${RANGE + 2}`)).toBe("from 8102");
  });

  test("a place that is taken is told with its owner, and the rest goes on", async () => {
    const why = `the address is in use by busybox (process ${busy.pid}) (stop that, or choose another hostPort)`;
    expect(said).toContain(
      `warning: Cannot forward TCP 127.0.0.1:${TAKEN} to 127.0.0.1:8001: ${why}`,
    );
    expect(await rowOf("ports", `127.0.0.1:${TAKEN}`)).toMatchObject({
      state: "failed",
      error: why,
    });
    expect(events("ports")).toContainEqual({
      type: "failed",
      protocol: "tcp",
      guestAddr: "127.0.0.1:8001",
      hostAddr: `127.0.0.1:${TAKEN}`,
      error: why,
    });
  });

  test("a port that needs privileges is not forwarded, with the remedy", async () => {
    const row = await rowOf("ports", "127.0.0.1:1023");
    expect(row).toMatchObject({ state: "not-forwarding", bound: [] });
    expect(row!.error).toContain("sudo sysctl net.ipv4.ip_unprivileged_port_start=1023");
    expect(said).not.toMatch(/\b1023\b/);
  });

  test("a port is forwarded when the guest listens, and no longer when it does not", async () => {
    expect(await rowOf("ports", `127.0.0.1:${NEW}`)).toMatchObject({ state: "waiting" });
    expect(await ask(`127.0.0.1:${NEW}`)).toBeUndefined();
    await serve("ports", "9000");
    expect(await answers(`127.0.0.1:${NEW}`)).toBe("from 9000");
    expect(await answers(`[::1]:${NEW}`)).toBe("from 9000");
    expect(await rowOf("ports", `127.0.0.1:${NEW}`)).toMatchObject({
      via: "network",
      state: "forwarding",
    });
    await stopServing("ports", "9000");
    await until(
      () => rowOf("ports", `127.0.0.1:${NEW}`),
      (row) => row?.state === "waiting",
    );
    expect(await ask(`127.0.0.1:${NEW}`)).toBeUndefined();
    const types = events("ports").filter(({ hostAddr }) => hostAddr === `127.0.0.1:${NEW}`);
    expect(types.map(({ type }) => type)).toEqual(["forwarding", "stopping"]);
  }, 40_000);

  test("what listens on the guest's loopback alone goes by ssh, static or not", async () => {
    await serve("ports", "127.0.0.1:9002");
    expect(await answers(`127.0.0.1:${LOCAL}`)).toBe("from 127.0.0.1:9002");
    expect(await answers(`[::1]:${LOCAL}`)).toBe("from 127.0.0.1:9002");
    expect(await rowOf("ports", `127.0.0.1:${LOCAL}`)).toMatchObject({ via: "ssh" });
    await serve("ports", "127.0.0.1:8101");
    expect(await answers(`127.0.0.1:${RANGE + 1}`)).toBe("from 127.0.0.1:8101");
  }, 40_000);

  test("a connection that ends itself in one direction gets all of the answer, by ssh too", async () => {
    const get = (port: number) =>
      new Promise<string>((resolve, reject) => {
        const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
        let text = "";
        socket.on("data", (octets) => (text += octets.toString()));
        socket.on("end", () => resolve(text));
        socket.on("error", reject);
        socket.end("GET / HTTP/1.0\r\n\r\n");
      });
    expect(await get(WEB)).toContain("from 8000");
    expect(await get(LOCAL)).toContain("from 127.0.0.1:9002");
  });

  test("forwards by ssh are there again after its connection was broken", async () => {
    const config = join(home.limanetHome, "ports/ssh.config");
    const { stderr } = await home.run(["ssh", "-F", config, "-O", "check", "lima-ports"]);
    process.kill(Number(/pid=(\d+)/.exec(stderr)![1]), "SIGKILL");
    await isSilent(`127.0.0.1:${LOCAL}`);
    expect(await answers(`127.0.0.1:${LOCAL}`)).toBe("from 127.0.0.1:9002");
    expect(await ask(`127.0.0.1:${WEB}`)).toBe("from 8000");
  }, 40_000);

  test("a socket of the host leads to a port of the guest, while it listens", async () => {
    const path = join(home.limanetHome, "ports/sock/web.sock");
    await serve("ports", "9001");
    expect(await answers("guest", path)).toBe("from 9001");
    await stopServing("ports", "9001");
    await isSilent("guest", path);
    await until(
      async () => existsSync(path),
      (isThere) => !isThere,
    );
  }, 40_000);

  test("UDP is forwarded when the guest listens, and no longer when it does not", async () => {
    const echo = (host: string) =>
      new Promise<boolean>((resolve) => {
        const socket = createSocket(host === "::1" ? "udp6" : "udp4");
        const done = (isAnswered: boolean) => {
          clearTimeout(timer);
          socket.close();
          resolve(isAnswered);
        };
        const timer = setTimeout(() => done(false), 500);
        socket.on("message", () => done(true));
        socket.on("error", () => done(false));
        socket.connect(UDP, host, () => socket.send("hello"));
      });
    home.add("nettool", NETTOOL);
    const ssh = `ssh -F ${join(home.limanetHome, "ports/ssh.config")} lima-ports`;
    const copied = await home.run(["sh", "-c", `${ssh} 'cat >/tmp/nettool' <nettool`]);
    expect(copied.stderr).toBe("");
    const start = "chmod +x /tmp/nettool; /tmp/nettool udpecho 9200 0.0.0.0 >/dev/null 2>&1 &";
    await home.must("shell", "ports", "sh", "-c", start);
    await until(
      () => echo("127.0.0.1"),
      (isAnswered) => isAnswered,
    );
    expect(await echo("::1")).toBe(true);
    expect(await rowOf("ports", `127.0.0.1:${UDP}`)).toMatchObject({
      protocol: "udp",
      via: "network",
    });
    await home.must("shell", "ports", "killall", "nettool");
    await until(
      () => rowOf("ports", `127.0.0.1:${UDP}`),
      (row) => row?.state === "waiting",
    );
    expect(await echo("127.0.0.1")).toBe(false);
  }, 60_000);

  test("ssh is not forwarded, and that is told", async () => {
    expect(await rows("ports")).toContainEqual({
      protocol: "tcp",
      guest: "0.0.0.0:22",
      host: "",
      bound: [],
      state: "not-forwarding",
      error: "it is for ssh, which limanet itself uses",
    });
  });

  test(
    "a second instance is told who has its port; as a plain one it has its static forwards only",
    async () => {
      const forwards = `portForwards:
- { guestPort: 8000, hostPort: ${WEB}, static: true, proto: tcp }
- { guestPort: 8001, hostPort: ${BASE + 8}, static: true, proto: tcp }
- { guestPort: 8002, hostPort: ${BASE + 9}, proto: tcp }
`;
      const template = home.template("other", guestYaml(home, forwards));
      const { code, stderr } = await home.limanet("start", "--plain", "--name", "other", template);
      expect(code).toBe(0);
      expect(stderr).toContain(
        `Cannot forward TCP 127.0.0.1:${WEB} to 127.0.0.1:8000: the address is in use by the instance ports `,
      );
      await serve("other", "127.0.0.1:8001");
      await serve("other", "8002");
      expect(await answers(`127.0.0.1:${BASE + 8}`)).toBe("from 127.0.0.1:8001");
      expect(await ask(`127.0.0.1:${BASE + 9}`)).toBeUndefined();
      expect((await rows("other")).map(({ host }) => host)).toEqual([
        `127.0.0.1:${WEB}`,
        `127.0.0.1:${BASE + 8}`,
      ]);
      // what was taken is tried again
      await home.must("delete", "--force", "ports");
      await serve("other", "8000");
      expect(await answers(`127.0.0.1:${WEB}`)).toBe("from 8000");
      await home.must("delete", "--force", "other");
      expect(await home.processes()).toEqual([]);
    },
    LIMIT,
  );
});

test(
  "--slirp=qemu: ports come and go as the guest listens",
  async () => {
    const forwards = `portForwards:
- { guestPort: 9000, hostPort: ${NEW}, proto: tcp }
- { guestPort: 9001, hostSocket: web.sock, proto: tcp }
`;
    const template = home.template("slirp", guestYaml(home, forwards));
    await home.must("start", "--slirp", "qemu", "--name", "slirp", template);
    const path = join(home.limanetHome, "slirp/sock/web.sock");
    await serve("slirp", "9000");
    await serve("slirp", "9001");
    expect(await answers(`127.0.0.1:${NEW}`)).toBe("from 9000");
    expect(await answers("guest", path)).toBe("from 9001");
    expect(await rowOf("slirp", `127.0.0.1:${NEW}`)).toMatchObject({ bound: [`127.0.0.1:${NEW}`] });
    await stopServing("slirp", "9000");
    await isSilent(`127.0.0.1:${NEW}`);
    await home.must("delete", "--force", "slirp");
  },
  LIMIT,
);
