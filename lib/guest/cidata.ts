/**
 * What a guest is told about itself: cloud-init's NoCloud documents, lima.env, and the scripts it runs at every boot
 * (specification, section 11). All of it goes on one ISO image with the label cidata.
 */
import { stringify } from "yaml";
import type { InstanceConfig } from "../config/instance.ts";
import type { IsoFile } from "./iso9660.ts";

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
    LIMA_CIDATA_PLAIN: facts.plain ? 1 : 0,
  };
  facts.nics.forEach((nic, i) => {
    values[`LIMA_CIDATA_NIC_${i}`] = `${nic.mac} ${nic.name} ${nic.metric}`;
  });
  return Object.entries(values)
    .map(([key, value]) => `${key}='${String(value).replaceAll("'", "'\\''")}'\n`)
    .join("");
}

/**
 * POSIX sh, for BusyBox and Debian alike. Runs at every boot as root; tells by /run/lima-ssh-ready and
 * /run/lima-boot-done how far it has come.
 */
const BOOT_SCRIPT = `#!/bin/sh
set -eu
cidata=$(cd "$(dirname "$0")" && pwd)
. "$cidata/lima.env"
if [ "$(cat /run/lima-boot-done 2>/dev/null || true)" = "$LIMA_CIDATA_IID" ]; then
	exit 0
fi
if [ "$LIMA_CIDATA_PLAIN" = 0 ]; then
	# the name by which the guest knows the host
	if [ -w /etc/hosts ] || [ ! -e /etc/hosts ]; then
		hosts=$(grep -v 'host\\.lima\\.internal' /etc/hosts 2>/dev/null || true)
		printf '%s\\n%s\\thost.lima.internal\\n' "$hosts" "$LIMA_CIDATA_SLIRP_GATEWAY" >/etc/hosts
	fi
	# environment of all logins, between marks so that the next boot can replace it
	if [ -s "$cidata/environment" ] || grep -q '^#LIMA-START' /etc/environment 2>/dev/null; then
		touch /etc/environment
		kept=$(sed '/^#LIMA-START/,/^#LIMA-END/d' /etc/environment)
		{
			if [ -n "$kept" ]; then printf '%s\\n' "$kept"; fi
			echo '#LIMA-START'
			cat "$cidata/environment"
			echo '#LIMA-END'
		} >/etc/environment.limanet
		mv /etc/environment.limanet /etc/environment
	fi
	# where QEMU's own network carries the guest, DNS goes to the responder of the host agent
	if command -v iptables >/dev/null 2>&1; then
		iptables -w -t nat -N LIMADNS 2>/dev/null || true
		for chain in PREROUTING OUTPUT; do
			iptables -w -t nat -C "$chain" -j LIMADNS 2>/dev/null || iptables -w -t nat -I "$chain" 1 -j LIMADNS || true
		done
		iptables -w -t nat -F LIMADNS 2>/dev/null || true
		for rule in "udp $LIMA_CIDATA_UDP_DNS_LOCAL_PORT" "tcp $LIMA_CIDATA_TCP_DNS_LOCAL_PORT"; do
			protocol=\${rule% *}
			port=\${rule#* }
			if [ "$port" != 0 ]; then
				iptables -w -t nat -A LIMADNS -d "$LIMA_CIDATA_SLIRP_DNS" -p "$protocol" --dport 53 \\
					-j DNAT --to-destination "$LIMA_CIDATA_SLIRP_GATEWAY:$port" || true
			fi
		done
	fi
fi
echo "$LIMA_CIDATA_IID" >/run/lima-ssh-ready
if [ "$LIMA_CIDATA_PLAIN" = 0 ]; then
	failed=0
	for script in "$cidata"/provision-*-system.sh; do
		if [ -f "$script" ]; then "$script" || failed=1; fi
	done
	for script in "$cidata"/provision-*-user.sh; do
		if [ -f "$script" ]; then
			if command -v sudo >/dev/null 2>&1; then
				sudo -iu "$LIMA_CIDATA_USER" "$script" || failed=1
			else
				su - "$LIMA_CIDATA_USER" -c "$script" || failed=1
			fi
		fi
	done
	if [ "$failed" != 0 ]; then
		echo 'limanet: a provision script has failed' >&2
	fi
fi
echo "$LIMA_CIDATA_IID" >/run/lima-boot-done
`;
