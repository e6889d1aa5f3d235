/** What an instance's guest is told about itself (specification, sections 3.4, 11.1 and 18), from what this host is. */
import { hostnameOf } from "../config/names.ts";
import type { InstanceConfig } from "../config/instance.ts";
import type { GuestFacts, GuestNic } from "../guest/cidata.ts";
import { guestNameServers } from "../guest/dns-servers.ts";
import {
  MAC_PROFILE_COMMAND,
  NO_PROFILE,
  parseMacProfile,
  type HostProfile,
} from "../guest/mac-network-profile.ts";
import { guestEnvironment } from "../guest/proxy-environment.ts";
import { unixMs } from "../host/clock.ts";
import { ThreadedSystemResolver } from "../host/dns-system-resolver.ts";
import { hostEnvironment, hostPlatform, hostUser } from "../host/machine.ts";
import { runCommand } from "../host/process.ts";
import { sshPublicKey, userPublicKeys } from "../instance/ssh.ts";
import type { Log } from "../trace/log.ts";
import type { FirstNetwork } from "./first-network.ts";

const NOBODY = 65_534;
const PROFILE_LIMIT_MS = 10_000;

/** `onUserV2`: the first network is a user-v2 network */
export async function guestFacts(
  home: string,
  name: string,
  config: InstanceConfig,
  first: FirstNetwork,
  onUserV2: boolean,
  nics: readonly GuestNic[],
  log: Log,
): Promise<GuestFacts> {
  const host = hostUser();
  // accounts that every guest has already, with a shell or without
  const isTaken = host.uid === 0 || host.uid === NOBODY;
  const user =
    config.user.name ??
    (isTaken || !/^[a-z_][a-z0-9_-]{0,31}$/.test(host.name) ? "lima" : host.name);
  const ownKey = await sshPublicKey(home);
  const environment = hostEnvironment();
  const profile = await hostProfile();
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
    netplanOptional: config.param["internal_netplanOptional"] === "true",
    dns: guestNameServers({
      configured: config.dns,
      onUsernet: onUserV2 || config.vmType === "vz",
      hostResolver: config.hostResolver.enabled,
      gateway: first.gateway,
      networkDns: first.dns,
      hostDns: profile.dns,
    }),
    gateway: first.gateway,
    dnsAddress: first.dns,
    address: first.guestAddress,
    dnsPorts: first.dnsPorts,
    environment: await environmentOf(config, profile, first.gateway, log),
    provision: config.provision,
    vmType: config.vmType,
    plain: config.plain,
  };
}

/** Not run on a Mac yet: what is tested is the reading of the command's output. */
async function hostProfile(): Promise<HostProfile> {
  if (hostPlatform() !== "darwin") return NO_PROFILE;
  const { code, stdout } = await runCommand(MAC_PROFILE_COMMAND, PROFILE_LIMIT_MS);
  return code === 0 ? parseMacProfile(stdout) : NO_PROFILE;
}

async function environmentOf(
  config: InstanceConfig,
  profile: HostProfile,
  gateway: string,
  log: Log,
): Promise<Record<string, string>> {
  const resolver = new ThreadedSystemResolver();
  const sources = {
    system: profile.proxies,
    env: config.env,
    host: config.propagateProxyEnv ? hostEnvironment() : undefined,
  };
  try {
    return await guestEnvironment(sources, {
      gateway,
      resolve: async (name) => {
        const families = [4, 6] as const;
        const answers = await Promise.all(
          families.map((family) => resolver.addresses(name, family, false)),
        );
        return answers.flatMap((answer) => (answer.kind === "addresses" ? answer.addresses : []));
      },
      warn: (sentence) => log.warn(sentence),
    });
  } finally {
    resolver.close();
  }
}
