/**
 * What a guest is told about itself: cloud-init's NoCloud documents, lima.env, and beside them what it runs at boot
 * (specification, sections 11.1 and 11.2). All of it goes on one ISO image with the label cidata.
 */
import { stringify } from "yaml";
import type { InstanceConfig } from "../config/instance.ts";
import { BOOT_SCRIPT, nicRepairScript } from "./boot-script.ts";
import type { IsoFile } from "./iso9660.ts";
import { shellWord } from "./shell-word.ts";

export interface GuestNic {
  mac: string;
  /** name in the guest */
  name: string;
  metric: number;
}

export interface GuestFacts {
  /** instance name */
  name: string;
  hostname: string;
  /** new at every boot, so that cloud-init looks at the network configuration again */
  instanceId: string;
  user: { name: string; uid: number; home: string; shell: string };
  sshKeys: readonly string[];
  /** eth0 first */
  nics: readonly GuestNic[];
  /** the guest boots on without waiting for its cards (param.internal_netplanOptional) */
  netplanOptional: boolean;
  /** name servers written into the guest; empty: what DHCP says */
  dns: readonly string[];
  gateway: string;
  dnsAddress: string;
  /** "" when DHCP chooses */
  address: string;
  /** ports of the host's responder that the guest redirects DNS to; 0: none */
  dnsPorts: { udp: number; tcp: number };
  /** environment for /etc/environment */
  environment: Readonly<Record<string, string>>;
  provision: readonly { mode: "system" | "user"; script: string }[];
  vmType: InstanceConfig["vmType"];
  plain: boolean;
}

/** The files of the image. */
export function cidataFiles(facts: GuestFacts): IsoFile[] {
  const text = (name: string, mode: number, content: string): IsoFile => ({
    name,
    mode,
    content: new TextEncoder().encode(content),
  });
  return [
    text(
      "meta-data",
      0o644,
      stringify({ "instance-id": facts.instanceId, "local-hostname": facts.hostname }),
    ),
    text("user-data", 0o644, `#cloud-config\n${stringify(userData(facts))}`),
    text("network-config", 0o644, stringify(networkConfig(facts))),
    text("lima.env", 0o644, limaEnv(facts)),
    text("ssh_authorized_keys", 0o644, facts.sshKeys.map((key) => `${key}\n`).join("")),
    text(
      "environment",
      0o644,
      Object.entries(facts.environment)
        .map(([key, value]) => `${key}=${value}\n`)
        .join(""),
    ),
    text("boot.sh", 0o755, BOOT_SCRIPT),
    ...(facts.plain ? [] : facts.provision).map(({ mode, script }, i) =>
      text(`provision-${String(i).padStart(4, "0")}-${mode}.sh`, 0o755, script),
    ),
  ];
}

function userData(facts: GuestFacts): unknown {
  const { user } = facts;
  return {
    users: [
      {
        name: user.name,
        uid: user.uid,
        homedir: user.home,
        shell: user.shell,
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        lock_passwd: true,
        ssh_authorized_keys: [...facts.sshKeys],
      },
    ],
    growpart: { mode: "auto", devices: ["/"] },
    ssh_pwauth: false,
    ...(facts.dns.length > 0
      ? { manage_resolv_conf: true, resolv_conf: { nameservers: [...facts.dns] } }
      : {}),
    ...(facts.plain ? {} : { bootcmd: [["sh", "-c", nicRepairScript(facts.nics)]] }),
    write_files: [
      { path: BOOT_HOOK_PATH, permissions: "0755", owner: "root:root", content: BOOT_HOOK },
    ],
    // the hook is written once, and run by hand on the first boot, when per-boot scripts have been listed already
    runcmd: [["sh", BOOT_HOOK_PATH]],
  };
}

const BOOT_HOOK_PATH = "/var/lib/cloud/scripts/per-boot/00-limanet.sh";

/** Runs boot.sh of the image that belongs to this boot, once a boot. */
const BOOT_HOOK = `#!/bin/sh
set -eu
mount_point=/mnt/lima-cidata
mkdir -p "$mount_point"
if ! grep -q " $mount_point " /proc/mounts; then
	mount -o ro -t iso9660 "$(blkid -L cidata || echo /dev/disk/by-label/cidata)" "$mount_point"
fi
exec sh "$mount_point/boot.sh"
`;

/** cloud-init network configuration, version 2 */
function networkConfig(facts: GuestFacts): unknown {
  const ethernets: Record<string, unknown> = {};
  facts.nics.forEach((nic, i) => {
    ethernets[nic.name] = {
      match: { macaddress: nic.mac },
      dhcp4: true,
      "set-name": nic.name,
      ...(facts.netplanOptional ? { optional: true } : {}),
      "dhcp4-overrides": { "route-metric": nic.metric },
      "dhcp-identifier": "mac",
      ...(i === 0 && facts.dns.length > 0 ? { nameservers: { addresses: [...facts.dns] } } : {}),
    };
  });
  return { version: 2, ethernets };
}

function limaEnv(facts: GuestFacts): string {
  const values: Record<string, string | number> = {
    LIMA_CIDATA_NAME: facts.name,
    LIMA_CIDATA_HOSTNAME: facts.hostname,
    LIMA_CIDATA_IID: facts.instanceId,
    LIMA_CIDATA_USER: facts.user.name,
    LIMA_CIDATA_UID: facts.user.uid,
    LIMA_CIDATA_HOME: facts.user.home,
    LIMA_CIDATA_SHELL: facts.user.shell,
    LIMA_CIDATA_SLIRP_GATEWAY: facts.gateway,
    LIMA_CIDATA_SLIRP_DNS: facts.dnsAddress,
    LIMA_CIDATA_SLIRP_IP_ADDRESS: facts.address,
    LIMA_CIDATA_UDP_DNS_LOCAL_PORT: facts.dnsPorts.udp,
    LIMA_CIDATA_TCP_DNS_LOCAL_PORT: facts.dnsPorts.tcp,
    LIMA_CIDATA_VMTYPE: facts.vmType,
    // no agent of ours runs in the guest
    LIMA_CIDATA_VSOCK_PORT: 0,
    LIMA_CIDATA_VIRTIO_PORT: "",
    LIMA_CIDATA_PLAIN: facts.plain ? 1 : 0,
  };
  facts.nics.forEach((nic, i) => {
    values[`LIMA_CIDATA_NIC_${i}`] = `${nic.mac} ${nic.name} ${nic.metric}`;
  });
  return Object.entries(values)
    .map(([key, value]) => `${key}=${shellWord(String(value))}\n`)
    .join("");
}
