/**
 * `limanet hostagent`: one running instance (specification, sections 8.10 and 9.1). It starts the virtual machine, carries
 * its default network, forwards its ports, and tells by JSON lines on standard output how far it has come.
 */
import { derivedMac } from "../config/mac-address.ts";
import { networkCards } from "../config/network-cards.ts";
import { instancePaths, type InstancePaths } from "../config/paths.ts";
import type { Nic } from "../driver/nic.ts";
import { cidataFiles } from "../guest/cidata.ts";
import { buildIso } from "../guest/iso9660.ts";
import { monotonicMs, unixMs } from "../host/clock.ts";
import { proxyToDescriptors } from "../host/descriptor-proxy.ts";
import { writeFileAtomically } from "../host/files.ts";
import { closeDescriptor } from "../host/descriptors.ts";
import { releaseHandedLock, tryLockPidFile } from "../host/lock.ts";
import { freePort, hostPlatform, limanetHome, machineId, sha256 } from "../host/machine.ts";
import { terminationSignal } from "../host/signals.ts";
import { writeEvent } from "../host/terminal.ts";
import { serveUnixHttp } from "../host/unix-http.ts";
import { releaseProgramPagesSoon } from "../host/unused-memory.ts";
import { sshConfigText } from "../instance/ssh.ts";
import { loadNetworks } from "../instance/settings.ts";
import { lastingSshPort, loadConfig } from "../instance/store.ts";
import { isManaged, socketOf } from "../privilege/commands.ts";
import { placeOf } from "./vmnet-place.ts";
import type { Log } from "../trace/log.ts";
import { keepFilesFromOthers } from "./confined.ts";
import { carryDefaultNetwork, joinUserV2, useQemuSlirp } from "./first-network.ts";
import { followHosts } from "./live-hosts.ts";
import { guestFacts } from "./guest-facts.ts";
import { waitForFile, waitForSsh } from "./guest-access.ts";
import { InstanceForwards } from "./forwards/instance-forwards.ts";
import { JoinedNetwork, type JoinedNetworkOptions, type NetworkState } from "./joined-network.ts";
import { ServedNetwork } from "./served-network.ts";
import { missingLeases } from "./lease-watch.ts";
import { endLeftovers } from "./leftovers.ts";
import { powerDown, startMachine, type Machine } from "./machine.ts";
import { networksOf, reconcile, startNetwork, usableNetwork } from "./reconcile.ts";

export interface HostAgentOptions {
  name: string;
  pidFile: string;
  socket: string;
  /** who carries the default network */
  slirp: "own" | "qemu";
  /** whoever started us keeps others away until we have our pid file */
  handedLock: boolean;
}

/** of the guest */
const SSH_PORT = 22;

/** where a QEMU before 8.0 waits for the network of a card */
const cardSocket = ({ dir }: InstancePaths, index: number) => `${dir}/net${index}.sock`;

/** Runs until the machine ends or a signal comes; the exit code. */
export async function runHostAgent(options: HostAgentOptions, log: Log): Promise<number> {
  const started = monotonicMs();
  const emit = (line: object) =>
    writeEvent(`${JSON.stringify({ time: new Date(unixMs()).toISOString(), ...line })}\n`);
  const stage = (name: string, detail = "") =>
    emit({ stage: name, detail, elapsedMs: Math.round(monotonicMs() - started) });
  keepFilesFromOthers();
  releaseProgramPagesSoon();
  const lock = tryLockPidFile(options.pidFile);
  if (options.handedLock) releaseHandedLock();
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
  await reconcile(home, { ending: options.name, warn: log.warn, log }).catch((error: Error) =>
    log.warn(error.message),
  );
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
  if (config.ssh.overVsock === true && config.vmType !== "vz")
    log.warn(
      `ssh.overVsock has no effect: with vmType ${config.vmType}, ssh goes over the network`,
    );
  await endLeftovers(home, name);
  // only from now on do we count as a user of these networks: another instance's end may have stopped them since our start
  const networks = loadNetworks(home);
  for (const network of networksOf(config.networks))
    await startNetwork(home, network, networks, log.warn, log);

  const sshPort = config.ssh.localPort || (lastingSshPort(paths, name) ?? freePort());
  const mac = (id: string) => derivedMac(sha256, machineId(), id);
  const isManagedName = (network: string) => isManaged(usableNetwork(networks, network));
  const isUserV2 = (network: string) => !isManagedName(network);
  const cards = networkCards(config.networks, isUserV2, paths, mac);
  const [card, ...otherCards] = cards;
  const firstNetwork = card.network?.lima;
  let machine: Machine | undefined;
  const onNetworkState = (which: string, state: NetworkState) => {
    emit({ network: { name: which, state } });
    if (state === "restored") machine?.networkReturned(which);
  };
  const sharesMemory = config.vhostUser && config.vmType === "qemu" && hostPlatform() === "linux";
  if (config.vhostUser && !sharesMemory)
    log.warn("vhostUser has no effect: only QEMU on Linux shares a guest's memory");
  else if (config.vhostUser && firstNetwork === undefined && options.slirp === "qemu")
    log.warn(
      "vhostUser has no effect on the default network: QEMU's own takes frames in another way (leave --slirp=qemu out)",
    );
  const joining = (network: string): JoinedNetworkOptions => ({
    home,
    network,
    log,
    onState: onNetworkState,
    sharesMemory,
  });
  const first =
    firstNetwork !== undefined
      ? await joinUserV2(joining(firstNetwork), name, config, card.mac, cardSocket(paths, 0))
      : options.slirp === "qemu"
        ? await useQemuSlirp(paths, config, name, sshPort)
        : await carryDefaultNetwork(paths, config, name, card.mac, sharesMemory, log);
  cleanUps.push(() => first.close());
  stage(
    "network",
    firstNetwork ?? `default, carried by ${options.slirp === "qemu" ? "QEMU" : "limanet"}`,
  );

  const others: (JoinedNetwork | ServedNetwork)[] = [];
  const served = async (network: string, socket: string, start?: () => Promise<void>) => {
    const place = { network, socket, start, log, onState: onNetworkState };
    const attachment = await ServedNetwork.open(place);
    others.push(attachment);
    cleanUps.push(() => attachment.close());
    return attachment.backend(cardSocket(paths, nics.length));
  };
  const nics: Nic[] = [{ mac: card.mac, mtu: first.mtu, backend: first.nic }];
  for (const { mac: address, network } of otherCards) {
    const { lima, socket } = network!;
    let nic: Nic;
    if (socket !== undefined) nic = { mac: address, backend: await served(socket, socket) };
    else if (lima === undefined) nic = { mac: address, backend: { kind: "nat" } };
    else if (isManagedName(lima))
      nic = {
        mac: address,
        backend: await served(lima, socketOf(placeOf(home, networks, lima), lima), () =>
          startNetwork(home, lima, loadNetworks(home), log.warn, log),
        ),
      };
    else {
      const joined = new JoinedNetwork(joining(lima));
      others.push(joined);
      cleanUps.push(() => joined.close());
      const { mtu } = usableNetwork(networks, lima);
      nic = { mac: address, mtu, backend: joined.backend(cardSocket(paths, nics.length)) };
    }
    nics.push(nic);
  }

  const facts = await guestFacts(
    home,
    name,
    config,
    first,
    firstNetwork !== undefined,
    [card, ...otherCards],
    log,
  );
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
      forwardX11: config.ssh.forwardX11,
      forwardX11Trusted: config.ssh.forwardX11Trusted,
    }),
    0o600,
  );

  const started = await startMachine({ paths, config, name, nics, log });
  machine = started;
  cleanUps.push(() => started.end());
  await first.attached(started);
  for (const other of others) await other.attached(started.reconnects);
  stage("machine", started.description);
  const forwards = new InstanceForwards({
    home,
    name,
    paths,
    config,
    sshPort,
    guestUser: user,
    network: {
      ...first.abilities,
      expose: (forward) => first.expose(forward),
      unexpose: (local, protocol) => first.unexpose(local, protocol),
    },
    emit: (portForward) => emit({ status: { portForward } }),
    log,
  });
  cleanUps.push(() => forwards.close());
  const answers: Record<string, () => unknown> = {
    "/v1/info": () => ({ autoStartedIdentifier: "", sshLocalPort: sshPort }),
    "/v1/forwards": () => forwards.rows(),
  };
  const info = await serveUnixHttp(options.socket, async ({ method, path }) => {
    const answer = Object.hasOwn(answers, path) ? answers[path] : undefined;
    if (answer === undefined) return { status: 404, text: "404 page not found\n" };
    if (method !== "GET") return { status: 405, text: "get only\n" };
    return { status: 200, json: answer() };
  });
  cleanUps.push(async () => info.close());
  emit({ status: { sshLocalPort: sshPort } });

  const ended = new AbortController();
  let hasEnded = false;
  void started.ended.then(() => {
    hasEnded = true;
    ended.abort();
  });
  void signal.then(() => ended.abort());
  const over = () => ended.signal.aborted;

  const address = await first.waitForAddress(ended.signal);
  if (!over()) {
    stage("address", address);
    const followed = followHosts(
      home,
      name,
      config.hostResolver.hosts,
      (hosts) => first.setHosts(hosts),
      log,
      ended.signal,
    );
    cleanUps.push(async () => {
      ended.abort();
      await followed;
    });
    const wanted = config.ssh.overVsock === true ? started.connectVsock : undefined;
    const proxy = wanted === undefined ? undefined : await sshOverVsock(wanted, sshPort, log);
    if (wanted !== undefined)
      emit({ vsock: { type: proxy === undefined ? "skipped" : "started" } });
    if (proxy !== undefined) cleanUps.push(async () => proxy.stop(true));
    else if (first.nic.kind !== "slirp")
      await first.expose({
        local: `127.0.0.1:${sshPort}`,
        remote: `${address}:22`,
        protocol: "tcp",
      });
    await waitForSsh(paths, name, over);
  }
  // a guest that is still booting does not listen to its power button
  const booted = !over();
  if (!over()) stage("ssh", `127.0.0.1:${sshPort}`);
  if (!over() && !config.plain) {
    await waitForFile(paths, name, "/run/lima-ssh-ready", facts.instanceId, over);
    stage("guest", "boot scripts have begun");
  }
  const errors = over() ? [] : await forwards.start(address);
  if (!over() && !config.plain)
    await waitForFile(paths, name, "/run/lima-boot-done", facts.instanceId, over);
  const watched = otherCards.flatMap(({ mac: watchedMac, network }) => {
    const { lima, socket } = network!;
    if (socket !== undefined || (lima !== undefined && !isManagedName(lima))) return [];
    return { network: lima ?? "vzNAT", mac: watchedMac };
  });
  errors.push(...(await missingLeases(home, name, paths, watched, over, log)));
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
  const why = await Promise.race([started.ended, signal.then(() => undefined), first.failed]);
  if (why === undefined) {
    // nobody is led any more to a guest that is on its way down (specification 9.1, step 7)
    await forwards.close();
    if (!hasEnded && booted) await powerDown(started, paths, name);
  } else if (why !== "") {
    throw new Error(why);
  }
}

/**
 * The host's ssh port by vsock (specification, section 14); undefined: the guest does not take such connections. Lima does so
 * unless told otherwise; here it is done when asked for, since nobody has run it on a Mac.
 */
async function sshOverVsock(
  connect: (port: number) => Promise<number>,
  sshPort: number,
  log: Log,
): Promise<{ stop(atOnce: boolean): void } | undefined> {
  const open = () => connect(SSH_PORT);
  try {
    closeDescriptor(await open());
  } catch (error) {
    log.warn(`ssh goes over the network: the guest takes no vsock: ${(error as Error).message}`);
    return undefined;
  }
  return proxyToDescriptors(sshPort, open);
}
