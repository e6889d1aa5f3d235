/**
 * kill -9 of any process of a running network at random moments, again and again, under load: guests are namespaces with
 * Linux's own TCP. After each round what was killed is started again, as anybody would, and must work: every guest has the
 * address that it had, every kind of traffic goes on, and nothing was ever changed on its way. Called by scripts/faults.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  FAR_ADDRESS,
  GATEWAY,
  Lab,
  LIMANET,
  plugIn,
  type Guest,
  type Pump,
} from "../support/lab.ts";
import { mulberry } from "../support/mulberry.ts";
import { SHARED, VMNET_GATEWAY, VmnetLab } from "../support/vmnet-lab.ts";
import { Load, serveEcho, told } from "./load.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);
const complain = (line: string) => process.stderr.write(`${line}\n`);

const ROUNDS = Number(process.argv[2] ?? 200);
const SEED = Number(process.argv[3] ?? Date.now() % 2 ** 31);
/** a kill comes within this time after its round has begun */
const SPAN_MS = 800;
/** what was killed works again by then, or never */
const LIMIT_MS = 60_000;
const ECHO = 7001;
const NAMES = "faults.example.test";
const ADDRESS = "192.0.2.44";
const RESOLVER = 5300;

const random = mulberry(SEED);
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;

/** A guest whose "virtual machine" can be killed and started again: the same card, and so the same address. */
class Machine {
  readonly guest: Guest;
  readonly mac: string;
  readonly #plug: (guest: Guest, mac: string) => Promise<Pump>;
  #pump: { kill(signal: "SIGKILL"): void; readonly exited: Promise<number> } | undefined;
  address = "";

  constructor(guest: Guest, mac: string, plug: (guest: Guest, mac: string) => Promise<Pump>) {
    this.guest = guest;
    this.mac = mac;
    this.#plug = plug;
  }

  async start(): Promise<void> {
    this.#pump = await this.#plug(this.guest, this.mac);
    await this.lease();
  }

  async kill(): Promise<void> {
    this.#pump?.kill("SIGKILL");
    await this.#pump?.exited;
  }

  /**
   * Asks for an address, which must be the one that it had. By dhclient, whose socket has a filter: udhcpc's gets every packet
   * of the card, and beside a fast load the answer finds no room in it.
   */
  async lease(): Promise<void> {
    const pid = join(lab.folder, `dhclient.${this.mac}`);
    const dhclient = ["dhclient", "-cf", "/dev/null", "-lf", "/dev/null", "-pf", pid];
    const { stderr } = await this.guest.run(...dhclient, "-v", "-1", "-sf", "/bin/true", "tap0");
    await this.guest.run(...dhclient, "-x", "tap0");
    const [, ip, server] = /DHCPACK of ([\d.]+) from ([\d.]+)/.exec(stderr) ?? [];
    if (ip === undefined || server === undefined) throw new Error(`dhclient: ${stderr}`);
    if (this.address !== "" && ip !== this.address)
      throw new Error(`${this.mac} had ${this.address} and was given ${ip}`);
    this.address = ip;
    await this.guest.ip("addr", "replace", `${ip}/24`, "dev", "tap0");
    await this.guest.ip("route", "replace", "default", "via", server);
  }
}

interface Victim {
  name: string;
  /** Kills it, and has it started again as whoever uses it would. */
  strike(): Promise<void>;
}

const lab = await Lab.openBy((folder) => ({
  by: [],
  options: ["-p", join(folder, "pid"), "--lease-file", join(folder, "leases")],
}));
const vmnet = await VmnetLab.open();
const loads: Load[] = [];
const machines: Machine[] = [];
const struck: Record<string, number> = {};
let strangers = 0;
let story: string[] = [];
let failed = false;

async function inTime<T>(what: string, work: () => Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`${what}: not within ${LIMIT_MS} ms`)),
    LIMIT_MS,
  );
  try {
    return await Promise.race([work(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

const leases = async () =>
  JSON.parse((await lab.api("GET", "/leases")).body) as Record<string, string>;

try {
  await lab.host.serve(
    ...(["udp", 53, "dnsmasq", "-d", "-C", "/dev/null", "-R", "-h", "-i", "lo", "-z"] as const),
    ...["-u", "root", "--local-ttl=60", `--address=/${NAMES}/${ADDRESS}`],
  );
  await serveEcho(lab.far, FAR_ADDRESS, ECHO);
  await serveEcho(lab.host, "127.0.0.1", ECHO);
  await vmnet.start(...SHARED);
  await serveEcho(vmnet.host, VMNET_GATEWAY, ECHO);

  const attach = (socket: () => string) => (guest: Guest, mac: string) =>
    plugIn(guest, socket(), "stream", mac, 1500, true);
  const toNetwork = attach(() => lab.socket("stream"));
  const toVmnet = attach(() => vmnet.socket);
  const machine = async (of: Lab | VmnetLab, mac: string, plug: typeof toNetwork) => {
    const guest = await of.guest({ mac });
    await of.unplug();
    const made = new Machine(guest, mac, plug);
    machines.push(made);
    await made.start();
    return made;
  };
  const busy = await machine(lab, "52:55:55:00:0a:01", toNetwork);
  const other = await machine(lab, "52:55:55:00:0a:02", toNetwork);
  const roaming = await machine(lab, "52:55:55:00:0a:03", toNetwork);
  const bridged = await machine(vmnet, "52:55:55:00:0b:01", toVmnet);
  await serveEcho(other.guest, other.address, ECHO);

  /** addresses that were given to somebody, by card */
  const given = new Map([busy, other, roaming].map(({ mac, address }) => [mac, address]));

  const forward = { local: "127.0.0.1:18080", remote: `${other.address}:${ECHO}`, protocol: "tcp" };
  let socks = "0";
  const setUp = async () => {
    await lab.api("POST", "/services/forwarder/expose", forward);
    const { body } = await lab.api("POST", "/limanet/socks", { port: Number(socks) });
    socks = /:(\d+)"/.exec(body)![1]!;
  };
  await setUp();
  const serveNames = async () => {
    const child = lab.host.spawn(LIMANET, "dns", "serve", "--listen", `127.0.0.1:${RESOLVER}`);
    for await (const chunk of child.stdout)
      if (new TextDecoder().decode(chunk).includes("serving DNS")) return child;
    throw new Error(`limanet dns serve: ${await new Response(child.stderr).text()}`);
  };
  let resolver = await serveNames();

  loads.push(
    new Load("TCP to the outside", busy.guest, "tcp", FAR_ADDRESS, String(ECHO), "300000"),
    new Load("TCP to the host", busy.guest, "tcp", GATEWAY, String(ECHO), "300000"),
    new Load("TCP between guests", busy.guest, "tcp", other.address, String(ECHO), "300000"),
    new Load("TCP by a forward", lab.host, "tcp", "127.0.0.1", "18080", "300000"),
    new Load("TCP by the proxy", lab.host, "tcp", other.address, String(ECHO), "300000", socks),
    new Load("UDP", busy.guest, "udp", FAR_ADDRESS, String(ECHO)),
    new Load("DNS", busy.guest, "dns", GATEWAY, NAMES, ADDRESS),
    new Load("TCP over vmnet", bridged.guest, "tcp", VMNET_GATEWAY, String(ECHO), "300000"),
  );

  /** A guest that nobody has seen asks for an address while its network dies: what it is told is kept, or it is told nothing. */
  const stranger = async () => {
    const mac = `52:55:55:01:00:${(strangers++ % 16).toString(16).padStart(2, "0")}`;
    await roaming.kill();
    const pump = await toNetwork(roaming.guest, mac);
    const answer = roaming.guest.dhcp("-t", "1").catch(() => ({}) as Record<string, string>);
    return {
      over: async () => {
        const { ip } = await answer;
        pump.kill("SIGKILL");
        await pump.exited;
        if (ip === undefined) return;
        const before = given.get(mac);
        if (before !== undefined && before !== ip)
          throw new Error(`${mac} had ${before} and was given ${ip}`);
        given.set(mac, ip);
      },
    };
  };

  const network: Victim = {
    name: "usernet",
    async strike() {
      const asking = random() < 0.5 ? await stranger() : undefined;
      await Bun.sleep(random() * 300);
      await lab.kill();
      await inTime("usernet starts", () => lab.start());
      await asking?.over();
      if (asking !== undefined) await roaming.start();
      await setUp();
    },
  };
  const victims: Victim[] = [
    network,
    network,
    {
      name: "a guest",
      async strike() {
        const struckOne = pick([roaming, roaming, busy, other]);
        await struckOne.kill();
        await struckOne.start();
      },
    },
    {
      name: "limanet vmnet",
      async strike() {
        await vmnet.stop("SIGKILL");
        await inTime("vmnet starts", () => vmnet.start(...SHARED));
      },
    },
    {
      name: "a guest of vmnet",
      async strike() {
        await bridged.kill();
        await bridged.start();
      },
    },
    {
      name: "limanet dns serve",
      async strike() {
        resolver.kill("SIGKILL");
        await resolver.exited;
        resolver = await inTime("dns serve starts", serveNames);
      },
    },
    {
      name: "usernet and a guest at once",
      async strike() {
        const struckOne = pick([roaming, busy]);
        await Promise.all([lab.kill(), struckOne.kill()]);
        await inTime("usernet starts", () => lab.start());
        await struckOne.start();
        await setUp();
      },
    },
    {
      name: "usernet as it starts",
      async strike() {
        await lab.kill();
        const starting = lab.start().catch(() => {});
        await Bun.sleep(random() * 250);
        await lab.kill();
        await starting;
        await inTime("usernet starts", () => lab.start());
        await setUp();
      },
    },
  ];

  const started = performance.now();
  for (let round = 1; round <= ROUNDS; round++) {
    const victim = pick(victims);
    story = [`round ${round}: ${victim.name}`];
    await Bun.sleep(random() * SPAN_MS);
    await victim.strike();
    struck[victim.name] = (struck[victim.name] ?? 0) + 1;
    // everybody has the address that they had, all the network knows of it, and every kind of traffic goes on
    const asked = lab.host.run(
      ...["dig", "+short", "+tries=3", "+time=3", "-p", String(RESOLVER)],
      ...["@127.0.0.1", `r${round}.${NAMES}`],
    );
    await Promise.all([
      ...[busy, other, roaming, bridged].map((one) =>
        inTime(`the lease of ${one.mac}`, () => one.lease()),
      ),
      ...loads.map((load) => inTime(`${load.name} goes on`, () => load.goesOn())),
    ]);
    const table = await leases();
    for (const [mac, ip] of given)
      if (table[ip] !== mac) throw new Error(`${ip} of ${mac} is ${table[ip] ?? "nobody"}'s`);
    const { stdout, stderr } = await asked;
    if (stdout !== `${ADDRESS}\n`) throw new Error(`dns serve: ${stdout}${stderr}`);
    for (const load of loads)
      if (load.counts.changed > 0) throw new Error(`${load.name}: octets were changed`);
    const left = readdirSync(lab.folder).filter((name) => name.endsWith(".tmp"));
    if (left.length > 1) throw new Error(`files are left behind: ${left.join(" ")}`);
    if (round % 20 === 0)
      say(
        `${round} rounds in ${((performance.now() - started) / 1000).toFixed(0)} s: ${JSON.stringify(struck)}`,
      );
  }
  await lab.kill();
  const pid = readFileSync(join(lab.folder, "pid"), "utf8").trim();
  if (Bun.spawnSync(["flock", "-n", join(lab.folder, "pid"), "true"]).exitCode !== 0)
    throw new Error(`the lock of ${pid}, which was killed, is still held`);
  await lab.start();
  say(
    `${ROUNDS} rounds survived, seed ${SEED}, in ${((performance.now() - started) / 1000).toFixed(0)} s; killed:`,
  );
  for (const [name, count] of Object.entries(struck)) say(`  ${count} times ${name}`);
  say(`${given.size} leases, none lost; what became of the traffic:`);
  for (const load of loads) say(`  ${load.name}: ${told(load.counts)}`);
} catch (error) {
  failed = true;
  for (const space of [vmnet.host, ...machines.map(({ guest }) => guest)])
    for (const words of ["ip route", "ip neigh", "ss -tno", "pgrep -c -f load.py"]) {
      const { stdout } = await space.run(...words.split(" "));
      complain(`${space.name}: ${words}\n${stdout}`);
    }
  complain(`FAIL seed ${SEED}: ${story.join("; ")}\n${(error as Error).stack}`);
  for (const load of loads) complain(`  ${load.name}: ${told(load.counts)}`);
  complain(
    `usernet: ${lab.log.slice(-1500)}\nvmnet (${dirname(vmnet.socket)}): ${vmnet.log.slice(-1500)}`,
  );
} finally {
  await Promise.all([
    ...loads.map((load) => load.stop()),
    ...machines.map((machine) => machine.kill()),
  ]);
  await vmnet.close();
  await lab.close();
}
process.exit(failed ? 1 : 0);
