/**
 * `limanet hostagent`: one running instance (specification, sections 8.10 and 9.1). It starts the virtual machine, carries
 * its default network, forwards its ports, and tells by JSON lines on standard output how far it has come.
 */
import { derivedMac } from "../config/mac-address.ts";
import { hostnameOf } from "../config/names.ts";
import { networkPaths, instancePaths, type InstancePaths } from "../config/paths.ts";
import type { InstanceConfig, PortForward } from "../config/instance.ts";
import { qemuArguments, qemuProgram, type QemuFacts, type QemuNic } from "../driver/qemu.ts";
import { cidataFiles, type GuestFacts, type GuestNic } from "../guest/cidata.ts";
import { buildIso } from "../guest/iso9660.ts";
import { guestEnvironment } from "../guest/proxy-environment.ts";
import { monotonicMs, sleep, unixMs } from "../host/clock.ts";
import { serveDnsTcp, serveDnsUdp } from "../host/dns-server.ts";
import { ThreadedSystemResolver } from "../host/dns-system-resolver.ts";
import { hostSearchDomains, NameServerUpstream } from "../host/dns-upstream.ts";
import { lastLines, remove, writeFileAtomically } from "../host/files.ts";
import { tryLockPidFile } from "../host/lock.ts";
import {
  freePort,
  hostArchitecture,
  hostEnvironment,
  hostUser,
  kvmUsable,
  limanetHome,
  machineId,
  sha256,
} from "../host/machine.ts";
import { findProgram, runCommand, startProcess, type StartedProcess } from "../host/process.ts";
import { connectQmp, type QmpClient } from "../host/qmp-client.ts";
import { terminationSignal } from "../host/signals.ts";
import { writeOut } from "../host/terminal.ts";
import { requestUnixHttp, serveUnixHttp } from "../host/unix-http.ts";
import { localFile } from "../instance/image-cache.ts";
import { sshConfigText, sshPublicKey, userPublicKeys } from "../instance/ssh.ts";
import { loadConfig, loadNetworks } from "../instance/store.ts";
import { DnsResponder } from "../service/dns/responder.ts";
import { DnsZones, zonesOfHosts } from "../service/dns/zones.ts";
import type { Log } from "../trace/log.ts";
import type { Forward, NetworkPlan, Transport } from "./engine-protocol.ts";
import { endLeftovers } from "./leftovers.ts";
import { startNetworkService } from "./network-service.ts";
import { networksOf, startNetwork, stopUnusedNetworks, userV2Network } from "./reconcile.ts";
import { GATEWAY_MAC, userV2Plan } from "./usernet.ts";

export interface HostAgentOptions {
  name: string;
  pidFile: string;
  socket: string;
  /** who carries the default network */
  slirp: "own" | "qemu";
}

/** the default network (specification, section 1) */
const DEFAULT_SUBNET = "192.168.5.0/24";
const DEFAULT_GATEWAY = "192.168.5.2";
const DEFAULT_DNS = "192.168.5.3";
const DEFAULT_GUEST = "192.168.5.15";
const FIRST_NIC_METRIC = 200;
const NOBODY = 65_534;
const SHUTDOWN_LIMIT_MS = 20_000;
/** between asking QEMU to end and killing it */
const QUIT_LIMIT_MS = 2000;
const STEP_MS = 100;
const SSH_LIMIT_MS = 5000;
/** rules without ports of their own ask for dynamic forwarding, which needs an agent in the guest */
const MAX_STATIC_PORTS = 1024;

/** How eth0 is connected, whoever carries it. */
interface FirstNetwork {
  nic: QemuNic["backend"];
  mtu: number;
  gateway: string;
  dns: string;
  /** "" when DHCP chooses */
  guestAddress: string;
  dnsPorts: { udp: number; tcp: number };
  /** Waits until the guest has an address; then port forwards can be made. */
  waitForAddress(signal: AbortSignal): Promise<string>;
  expose(forward: Forward): Promise<void>;
  /** rejects when the network breaks down under the machine */
  failed: Promise<never>;
  close(): Promise<void>;
}

/** for networks whose end is somebody else's to notice */
const NEVER = new Promise<never>(() => {});

/** Runs until the machine ends or a signal comes; the exit code. */
export async function runHostAgent(options: HostAgentOptions, log: Log): Promise<number> {
  const started = monotonicMs();
  const emit = (line: object) =>
    writeOut(`${JSON.stringify({ time: new Date(unixMs()).toISOString(), ...line })}\n`);
  const stage = (name: string, detail = "") =>
    emit({ stage: name, detail, elapsedMs: Math.round(monotonicMs() - started) });
  const lock = tryLockPidFile(options.pidFile);
  if (lock === undefined) {
    log.error(
      `Cannot start the instance ${options.name}: it seems to run already (limanet stop ${options.name})`,
    );
    return 1;
  }
  const home = limanetHome();
  const signal = terminationSignal();
  const cleanUps: (() => Promise<void>)[] = [];
  let code = 0;
  try {
    await runInstance(home, options, log, emit, stage, signal, cleanUps);
  } catch (error) {
    code = 1;
    emit({ status: { errors: [(error as Error).message], exiting: true } });
    log.error((error as Error).message);
  }
  for (const cleanUp of cleanUps.toReversed())
    await cleanUp().catch((error: Error) => log.warn(error.message));
  await stopUnusedNetworks(home, options.name).catch((error: Error) => log.warn(error.message));
  if (code === 0) emit({ status: { exiting: true } });
  lock.release();
  return code;
}

async function runInstance(
  home: string,
  options: HostAgentOptions,
  log: Log,
  emit: (line: object) => void,
  stage: (name: string, detail?: string) => void,
  signal: Promise<string>,
  cleanUps: (() => Promise<void>)[],
): Promise<void> {
  const { name } = options;
  const paths = instancePaths(home, name);
  const config = loadConfig(home, name);
  await endLeftovers(home, name);
  // only from now on do we count as a user of these networks: another instance's end may have stopped them since our start
  for (const network of networksOf(config.networks))
    await startNetwork(home, network, loadNetworks(home));

  const sshPort = config.ssh.localPort === 0 ? freePort() : config.ssh.localPort;
  const mac = (id: string) => derivedMac(sha256, machineId(), id);
  const firstMac = mac(paths.dir);
  const primary = config.networks.findIndex((network) => network.lima !== undefined);
  const first =
    primary >= 0
      ? await joinUserV2(home, name, config, config.networks[primary]!.lima!, firstMac)
      : options.slirp === "qemu"
        ? await useQemuSlirp(config, name, sshPort)
        : await carryDefaultNetwork(paths, config, name, firstMac, log);
  cleanUps.push(() => first.close());
  stage(
    "network",
    primary >= 0
      ? config.networks[primary]!.lima!
      : `default, carried by ${options.slirp === "qemu" ? "QEMU" : "limanet"}`,
  );

  const nics: QemuNic[] = [{ mac: firstMac, backend: first.nic }];
  const guestNics: GuestNic[] = [{ mac: firstMac, name: "eth0", metric: FIRST_NIC_METRIC }];
  config.networks.forEach((network, i) => {
    if (i === primary) return;
    if (network.vzNAT === true)
      throw new Error(`Cannot attach networks[${i}]: vzNAT needs vmType vz on macOS`);
    const path = network.socket ?? networkPaths(home, network.lima!).qemu;
    const address = network.macAddress ?? mac(`${paths.config}#${i}`);
    nics.push({ mac: address, backend: { kind: "stream", path } });
    guestNics.push({ mac: address, name: network.interface, metric: network.metric });
  });

  const facts = await guestFacts(home, name, config, first, guestNics);
  writeFileAtomically(paths.cidata, buildIso("cidata", cidataFiles(facts), unixMs()), 0o600);
  const { user } = facts;
  writeFileAtomically(
    paths.sshConfig,
    sshConfigText({
      home,
      name,
      user: user.name,
      port: sshPort,
      forwardAgent: config.ssh.forwardAgent,
    }),
    0o600,
  );

  const qemu = await startQemu(paths, config, name, nics, first.mtu, log);
  cleanUps.push(() => endQemu(qemu, paths));
  stage("machine", `${qemu.program} runs as process ${qemu.process.pid}`);
  const info = await serveUnixHttp(options.socket, async ({ method, path }) => {
    if (path !== "/v1/info") return { status: 404, text: "404 page not found\n" };
    if (method !== "GET") return { status: 405, text: "get only\n" };
    return { status: 200, json: { autoStartedIdentifier: "", sshLocalPort: sshPort } };
  });
  cleanUps.push(async () => info.close());
  emit({ status: { sshLocalPort: sshPort } });

  const ended = new AbortController();
  let whyEnded = "";
  void qemu.process.exited.then((exit) => {
    whyEnded = machineEnd(exit, paths);
    ended.abort();
  });
  void signal.then(() => ended.abort());
  const over = () => ended.signal.aborted;

  const address = await first.waitForAddress(ended.signal);
  if (!over()) {
    stage("address", address);
    if (first.nic.kind === "stream") {
      await first.expose({
        local: `127.0.0.1:${sshPort}`,
        remote: `${address}:22`,
        protocol: "tcp",
      });
    }
    await waitForSsh(paths, name, over);
  }
  // a guest that is still booting does not listen to its power button
  const booted = !over();
  if (!over()) stage("ssh", `127.0.0.1:${sshPort}`);
  if (!over() && !config.plain) {
    await waitForFile(paths, name, "/run/lima-ssh-ready", facts.instanceId, over);
    stage("guest", "boot scripts have begun");
  }
  const errors = over()
    ? []
    : await forwardPorts(forwardRules(config), address, first, sshPort, emit);
  if (!over() && !config.plain)
    await waitForFile(paths, name, "/run/lima-boot-done", facts.instanceId, over);
  if (!over()) {
    stage("ready");
    emit({
      status: {
        running: true,
        sshLocalPort: sshPort,
        ...(errors.length > 0 ? { degraded: true, errors } : {}),
      },
    });
  }
  const exit = await Promise.race([qemu.process.exited, signal, first.failed]);
  if (exit === "SIGTERM" || exit === "SIGINT" || exit === "SIGHUP") {
    if (whyEnded === "" && booted) await powerDown(qemu, paths, name);
  } else if (exit !== 0) {
    throw new Error(whyEnded);
  }
}

// ---------------------------------------------------------------- the first network

/** The default network on our own stack, in this process. */
async function carryDefaultNetwork(
  paths: InstancePaths,
  config: InstanceConfig,
  name: string,
  mac: string,
  log: Log,
): Promise<FirstNetwork> {
  const plan: NetworkPlan = {
    subnet: DEFAULT_SUBNET,
    gateway: DEFAULT_GATEWAY,
    hostAliases: [DEFAULT_GATEWAY],
    dns: DEFAULT_DNS,
    gatewayMac: GATEWAY_MAC,
    mtu: 1500,
    searchDomains: hostSearchDomains(),
    leaseSeconds: 3600,
    dhcpFirst: DEFAULT_GUEST,
    staticLeases: [{ ip: DEFAULT_GUEST, mac }],
  };
  const service = await startNetworkService({
    plan,
    listen: [
      { kind: "stream", path: paths.guestSocket },
      { kind: "descriptor", path: paths.descriptorSocket },
    ],
    endpoint: paths.endpoint,
    dnsTcpPath: paths.dnsSocket,
    leaseFile: undefined,
    hosts: staticHosts(config, name),
    ipv6: config.hostResolver.ipv6,
    capture: undefined,
    log,
  });
  return {
    nic: { kind: "stream", path: paths.guestSocket },
    mtu: plan.mtu,
    gateway: plan.gateway,
    dns: plan.dns,
    guestAddress: DEFAULT_GUEST,
    dnsPorts: { udp: 0, tcp: 0 },
    waitForAddress: (signal) =>
      poll(signal, async () => {
        const outcome = await service.engine.request({
          type: "probe",
          ip: DEFAULT_GUEST,
          port: 22,
          timeoutMs: 500,
        });
        return outcome === "timeout" ? undefined : DEFAULT_GUEST;
      }),
    expose: async (forward) => void (await service.engine.request({ type: "expose", forward })),
    failed: service.failed,
    close: () => service.close(),
  };
}

function staticHosts(config: InstanceConfig, name: string): Record<string, string> {
  // these two win over entries of the same name (specification 10.1)
  return {
    ...config.hostResolver.hosts,
    "host.lima.internal": DEFAULT_GATEWAY,
    [hostnameOf(name)]: DEFAULT_GUEST,
    [`${hostnameOf(name)}.internal`]: DEFAULT_GUEST,
  };
}

/** QEMU's own network, with our DNS on two loopback ports that the guest redirects to. */
async function useQemuSlirp(
  config: InstanceConfig,
  name: string,
  sshPort: number,
): Promise<FirstNetwork> {
  const closers: (() => void)[] = [];
  const dnsPorts = { udp: 0, tcp: 0 };
  if (config.hostResolver.enabled) {
    const zones = new DnsZones();
    for (const zone of zonesOfHosts(staticHosts(config, name))) zones.add(zone);
    const resolver = new ThreadedSystemResolver();
    const responder = new DnsResponder({
      zones,
      resolver,
      upstream: new NameServerUpstream(),
      ipv6: config.hostResolver.ipv6,
    });
    const udp = await serveDnsUdp(responder, "127.0.0.1", 0);
    const tcp = serveDnsTcp(responder, "127.0.0.1", 0);
    dnsPorts.udp = udp.port;
    dnsPorts.tcp = tcp.port;
    closers.push(
      () => udp.close(),
      () => tcp.close(),
      () => resolver.close(),
    );
  }
  return {
    nic: { kind: "slirp", sshPort },
    mtu: 1500,
    gateway: DEFAULT_GATEWAY,
    dns: DEFAULT_DNS,
    guestAddress: DEFAULT_GUEST,
    dnsPorts,
    waitForAddress: async () => DEFAULT_GUEST,
    expose: () =>
      Promise.reject(
        new Error("port forwards need limanet's own network: start without --slirp=qemu"),
      ),
    failed: NEVER,
    close: async () => {
      for (const close of closers) close();
    },
  };
}

/** A user-v2 network, which its own daemon carries. */
async function joinUserV2(
  home: string,
  name: string,
  config: InstanceConfig,
  network: string,
  mac: string,
): Promise<FirstNetwork> {
  const { subnet, mtu = 1500 } = userV2Network(loadNetworks(home), network);
  const paths = networkPaths(home, network);
  const call = async (method: string, target: string, body?: unknown) => {
    const answer = await requestUnixHttp(paths.endpoint, method, target, body);
    if (answer.status !== 200) throw new Error(answer.body.trim());
    return answer.body;
  };
  const { gateway } = userV2Plan(subnet, mtu, undefined);
  const exposed: { local: string; protocol: Transport }[] = [];
  return {
    nic: { kind: "stream", path: paths.qemu },
    mtu,
    gateway,
    dns: gateway,
    guestAddress: "",
    dnsPorts: { udp: 0, tcp: 0 },
    waitForAddress: (signal) =>
      poll(signal, async () => {
        const leases = JSON.parse(await call("GET", "/leases")) as Record<string, string>;
        const address = Object.keys(leases).find((ip) => leases[ip] === mac);
        if (address === undefined) return undefined;
        const hosts = {
          ...config.hostResolver.hosts,
          [`${hostnameOf(name)}.internal`]: address,
          "host.lima.internal": gateway,
        };
        for (const zone of zonesOfHosts(hosts)) await call("POST", "/services/dns/add", zone);
        return address;
      }),
    expose: async (forward) => {
      await call("POST", "/services/forwarder/expose", forward);
      exposed.push(forward);
    },
    failed: NEVER,
    close: async () => {
      // the daemon may be gone already, and its forwards with it
      for (const { local, protocol } of exposed) {
        await call("POST", "/services/forwarder/unexpose", { local, protocol }).catch(() => {});
      }
    },
  };
}

/** Asks again and again until there is an answer, or the machine has ended (then ""). */
async function poll(signal: AbortSignal, ask: () => Promise<string | undefined>): Promise<string> {
  while (!signal.aborted) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await sleep(STEP_MS);
  }
  return "";
}

// ---------------------------------------------------------------- the guest

async function guestFacts(
  home: string,
  name: string,
  config: InstanceConfig,
  first: FirstNetwork,
  nics: readonly GuestNic[],
): Promise<GuestFacts> {
  const host = hostUser();
  // accounts that every guest has already, with a shell or without
  const isTaken = host.uid === 0 || host.uid === NOBODY;
  const user =
    config.user.name ??
    (isTaken || !/^[a-z_][a-z0-9_-]{0,31}$/.test(host.name) ? "lima" : host.name);
  const ownKey = await sshPublicKey(home);
  const environment = hostEnvironment();
  return {
    name,
    hostname: hostnameOf(name),
    instanceId: `iid-${Math.floor(unixMs() / 1000)}`,
    user: {
      name: user,
      uid: config.user.uid ?? (isTaken ? 1000 : host.uid),
      home: config.user.home ?? `/home/${user}.linux`,
      shell: config.user.shell,
    },
    sshKeys: [
      ownKey,
      ...(config.ssh.loadDotSSHPubKeys ? userPublicKeys(environment["HOME"] ?? "/root") : []),
    ],
    nics,
    // specification 3.4; what DHCP says is the network's own DNS address, so nothing needs to be written
    dns: config.dns,
    gateway: first.gateway,
    dnsAddress: first.dns,
    address: first.guestAddress,
    dnsPorts: first.dnsPorts,
    environment: guestEnvironment(config.env, environment, config.propagateProxyEnv, first.gateway),
    provision: config.provision,
    plain: config.plain,
  };
}

async function waitForSsh(paths: InstancePaths, name: string, over: () => boolean): Promise<void> {
  while (!over()) {
    const { code } = await inGuest(paths, name, "true");
    if (code === 0) return;
    await sleep(STEP_MS);
  }
}

/** Waits until a file of the guest holds the id of this boot. */
async function waitForFile(
  paths: InstancePaths,
  name: string,
  file: string,
  id: string,
  over: () => boolean,
): Promise<void> {
  while (!over()) {
    const { code, stdout } = await inGuest(paths, name, `cat ${file}`);
    if (code === 0 && stdout.trim() === id) return;
    await sleep(STEP_MS);
  }
}

const inGuest = (paths: InstancePaths, name: string, command: string) =>
  runCommand(
    ["ssh", "-F", paths.sshConfig, "-o", "ConnectTimeout=4", hostnameOf(name), command],
    SSH_LIMIT_MS,
  );

/** specification 3.7: plain instances keep only their static rules */
const forwardRules = ({ portForwards, plain }: InstanceConfig): PortForward[] =>
  plain ? portForwards.filter((rule) => rule.static) : portForwards;

/** Makes the forwards that name their ports; the sentences about those that could not be made. */
async function forwardPorts(
  rules: readonly PortForward[],
  address: string,
  first: FirstNetwork,
  sshPort: number,
  emit: (line: object) => void,
): Promise<string[]> {
  const errors: string[] = [];
  for (const rule of rules) {
    const [from, to] = rule.guestPortRange;
    if (rule.ignore || rule.reverse || to - from >= MAX_STATIC_PORTS) continue;
    const protocols: Transport[] =
      rule.hostSocket !== undefined
        ? ["unix"]
        : rule.proto === "any"
          ? ["tcp", "udp"]
          : [rule.proto];
    for (let port = from; port <= to; port++) {
      const hostPort = rule.hostPortRange[0] + port - from;
      if (port === 22 || hostPort === sshPort) continue;
      for (const protocol of protocols) {
        const local =
          rule.hostSocket ??
          `${rule.hostIP.includes(":") ? `[${rule.hostIP}]` : rule.hostIP}:${hostPort}`;
        const remote = `${address}:${port}`;
        const told = { protocol, guestAddr: remote, hostAddr: local };
        try {
          await first.expose({ local, remote, protocol });
          emit({ status: { portForward: { type: "forwarding", ...told } } });
        } catch (error) {
          const message = `Cannot forward ${local} to ${remote}: ${(error as Error).message}`;
          errors.push(message);
          emit({ status: { portForward: { type: "failed", ...told, error: message } } });
        }
      }
    }
  }
  return errors;
}

// ---------------------------------------------------------------- the machine

interface Machine {
  program: string;
  process: StartedProcess;
  qmp: QmpClient;
}

async function startQemu(
  paths: InstancePaths,
  config: InstanceConfig,
  name: string,
  nics: readonly QemuNic[],
  mtu: number,
  log: Log,
): Promise<Machine> {
  if (config.vmType !== "qemu")
    throw new Error(
      "Cannot start the virtual machine: vmType vz is not built yet (set vmType: qemu)",
    );
  const arch = hostArchitecture();
  const image = config.images.find((candidate) => candidate.arch === arch);
  if (image === undefined)
    throw new Error(`Cannot start the virtual machine: lima.yaml has no image for ${arch}`);
  const program = qemuProgram(arch);
  if (findProgram(program) === undefined) {
    const fix = arch === "x86_64" ? "qemu-system-x86" : "qemu-system-arm";
    throw new Error(
      `Cannot start the virtual machine: ${program} is not installed (on Debian and Ubuntu: apt install ${fix}; on macOS: brew install qemu)`,
    );
  }
  const version = /version (\d+)\.(\d+)/.exec(
    (await runCommand([program, "--version"], SSH_LIMIT_MS)).stdout,
  );
  const number: [number, number] = [Number(version?.[1] ?? 0), Number(version?.[2] ?? 0)];
  if (number[0] < 7 || (number[0] === 7 && number[1] < 2)) {
    throw new Error(
      `Cannot start the virtual machine: QEMU ${number.join(".")} has no stream network device (7.2 or later is needed)`,
    );
  }
  const facts: Omit<QemuFacts, "accelerator"> = {
    arch,
    version: number,
    cpus: config.cpus,
    memory: config.memory,
    name,
    disk: image.disk === undefined ? undefined : paths.disk,
    kernel: image.kernel === undefined ? undefined : await localFile(image.kernel),
    cmdline: image.kernel?.cmdline,
    initrd: image.initrd === undefined ? undefined : await localFile(image.initrd),
    cidata: paths.cidata,
    qmp: paths.qmp,
    pidFile: paths.qemuPid,
    serialLog: paths.serialLog,
    mtu,
    nics,
  };
  if (kvmUsable()) {
    try {
      return await launch(program, qemuArguments({ ...facts, accelerator: "kvm" }), paths);
    } catch (error) {
      // a /dev/kvm that cannot be used, as in some nested machines, is worse than none only in speed
      log.warn(`${(error as Error).message}; it is tried again without KVM`);
    }
  }
  return launch(program, qemuArguments({ ...facts, accelerator: "tcg" }), paths);
}

async function launch(program: string, args: string[], paths: InstancePaths): Promise<Machine> {
  const files = { stdout: `${paths.dir}/qemu.stdout.log`, stderr: `${paths.dir}/qemu.stderr.log` };
  const child = startProcess([program, ...args], files, false);
  let ended = false;
  void child.exited.then(() => {
    ended = true;
  });
  for (;;) {
    if (ended) remove(paths.qmp);
    if (ended)
      throw new Error(
        `Cannot start the virtual machine: QEMU ended at once: ${lastLines(files.stderr, 3)}`,
      );
    try {
      return { program, process: child, qmp: await connectQmp(paths.qmp, () => {}) };
    } catch {
      await sleep(STEP_MS / 5);
    }
  }
}

/** Asks the guest to power off; one that does not listen to its power button is asked by ssh, then ended. */
async function powerDown(machine: Machine, paths: InstancePaths, name: string): Promise<void> {
  let ended = false;
  void machine.process.exited.then(() => {
    ended = true;
  });
  await machine.qmp.execute("system_powerdown").catch(() => {});
  const limit = monotonicMs() + SHUTDOWN_LIMIT_MS;
  const askBySsh = monotonicMs() + SHUTDOWN_LIMIT_MS / 8;
  let asked = false;
  while (!ended && monotonicMs() < limit) {
    if (!asked && monotonicMs() > askBySsh) {
      asked = true;
      await inGuest(paths, name, "sudo -n poweroff");
    }
    await sleep(STEP_MS);
  }
}

/** Ends QEMU if it still runs and removes what it made. */
async function endQemu(machine: Machine, paths: InstancePaths): Promise<void> {
  machine.qmp.close();
  machine.process.kill("SIGTERM");
  let ended = false;
  void machine.process.exited.then(() => {
    ended = true;
  });
  const limit = monotonicMs() + QUIT_LIMIT_MS;
  while (!ended && monotonicMs() < limit) await sleep(STEP_MS / 5);
  machine.process.kill("SIGKILL");
  await machine.process.exited;
  await runCommand(["ssh", "-F", paths.sshConfig, "-O", "exit", "ignored"], SSH_LIMIT_MS).catch(
    () => {},
  );
  for (const path of [paths.qmp, paths.qemuPid, paths.sshControl]) remove(path);
}

function machineEnd(exit: number | string, paths: InstancePaths): string {
  const stderr = lastLines(`${paths.dir}/qemu.stderr.log`, 2);
  const serial = lastLines(paths.serialLog, 3);
  return `The virtual machine ended unexpectedly (${typeof exit === "number" ? `exit code ${exit}` : exit})${stderr === "" ? "" : `: ${stderr}`}${serial === "" ? "" : `\nlast lines of its console:\n${serial}`}`;
}
