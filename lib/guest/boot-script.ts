/**
 * What a guest runs at boot (specification, section 11.3), in POSIX sh for BusyBox and Debian alike. Each part can be
 * run again and again; none of it is done in plain mode but the two marks that tell how far the boot has come.
 */
import type { GuestNic } from "./cidata.ts";

/**
 * Gives network cards the names they should have had, and waits until the first has an address. cloud-init runs it
 * early, before the image of this boot is mounted, so what it needs stands in it.
 */
export function nicRepairScript(nics: readonly GuestNic[]): string {
  const pairs = nics.map(({ mac, name }) => `${mac.toLowerCase()}=${name}`);
  return `set -u
for pair in ${pairs.join(" ")}; do
	mac=\${pair%=*}
	name=\${pair#*=}
	tries=0
	while [ ! -e "/sys/class/net/$name" ] && [ "$tries" -lt 3 ]; do
		if [ "$tries" -gt 0 ]; then sleep 1; fi
		tries=$((tries + 1))
		for card in /sys/class/net/*; do
			if [ "$(cat "$card/address" 2>/dev/null)" = "$mac" ]; then
				# a card that is up keeps its name
				ip link set "\${card##*/}" down &&
					ip link set "\${card##*/}" name "$name" &&
					ip link set "$name" up
				break
			fi
		done
	done
	if [ ! -e "/sys/class/net/$name" ]; then
		echo "limanet: no network card could be named $name (its hardware address is $mac)" >&2
	fi
done
seconds=0
until ip -4 addr show dev ${nics[0]?.name ?? "eth0"} 2>/dev/null | grep -q 'inet '; do
	if [ "$seconds" -ge 30 ]; then break; fi
	sleep 1
	seconds=$((seconds + 1))
done
`;
}

/** Runs as root at every boot; says in /run/lima-ssh-ready and /run/lima-boot-done which boot has come how far. */
export const BOOT_SCRIPT = `#!/bin/sh
set -eu
cidata=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=/dev/null
. "$cidata/lima.env"

# the name by which the guest knows the host
set_hosts() {
	kept=$(grep -vF host.lima.internal /etc/hosts 2>/dev/null || true)
	{
		if [ -n "$kept" ]; then printf '%s\\n' "$kept"; fi
		printf '%s\\thost.lima.internal\\n' "$LIMA_CIDATA_SLIRP_GATEWAY"
	} >/etc/hosts
}

# environment of all logins, between marks so that the next boot can replace it
set_environment() {
	if [ ! -s "$cidata/environment" ] && ! grep -q '^#LIMA-START' /etc/environment 2>/dev/null; then return 0; fi
	touch /etc/environment
	kept=$(sed '/^#LIMA-START/,/^#LIMA-END/d' /etc/environment)
	{
		if [ -n "$kept" ]; then printf '%s\\n' "$kept"; fi
		if [ -s "$cidata/environment" ]; then
			echo '#LIMA-START'
			cat "$cidata/environment"
			echo '#LIMA-END'
		fi
	} >/etc/environment.limanet
	mv /etc/environment.limanet /etc/environment
}

# names under .local, where systemd-resolved can look them up
enable_mdns() {
	if [ ! -d /run/systemd/system ] || ! command -v resolvectl >/dev/null 2>&1; then return 0; fi
	conf=/etc/systemd/resolved.conf.d/00-lima-enable-mdns.conf
	if [ ! -e "$conf" ]; then
		mkdir -p "\${conf%/*}"
		printf '[Resolve]\\nMulticastDNS=yes\\n' >"$conf"
		systemctl try-restart systemd-resolved
	fi
	index=0
	while eval "card=\\\${LIMA_CIDATA_NIC_$index:-}" && [ -n "$card" ]; do
		card=\${card#* }
		resolvectl mdns "\${card%% *}" yes
		index=$((index + 1))
	done
}

# where QEMU's own network carries the guest, DNS goes to the responder of the host agent; elsewhere the ports are 0
redirect_dns() {
	command -v iptables >/dev/null 2>&1 || return 0
	iptables -w -t nat -N LIMADNS 2>/dev/null || true
	for chain in PREROUTING OUTPUT; do
		iptables -w -t nat -C "$chain" -j LIMADNS 2>/dev/null || iptables -w -t nat -I "$chain" 1 -j LIMADNS
	done
	iptables -w -t nat -F LIMADNS
	for rule in "udp $LIMA_CIDATA_UDP_DNS_LOCAL_PORT" "tcp $LIMA_CIDATA_TCP_DNS_LOCAL_PORT"; do
		protocol=\${rule% *}
		port=\${rule#* }
		if [ "$port" != 0 ]; then
			iptables -w -t nat -A LIMADNS -d "$LIMA_CIDATA_SLIRP_DNS" -p "$protocol" --dport 53 \\
				-j DNAT --to-destination "$LIMA_CIDATA_SLIRP_GATEWAY:$port"
		fi
	done
}

needs_iptables() {
	[ "$LIMA_CIDATA_UDP_DNS_LOCAL_PORT $LIMA_CIDATA_TCP_DNS_LOCAL_PORT" != "0 0" ] &&
		! command -v iptables >/dev/null 2>&1
}

# by whatever installs packages here
install_iptables() {
	if command -v apt-get >/dev/null 2>&1; then
		DEBIAN_FRONTEND=noninteractive
		export DEBIAN_FRONTEND
		apt-get update && apt-get install -y --no-install-recommends iptables
	elif command -v dnf >/dev/null 2>&1; then
		dnf install -y iptables-nft
	elif command -v apk >/dev/null 2>&1; then
		apk add iptables
	elif command -v zypper >/dev/null 2>&1; then
		zypper --non-interactive install -y --no-recommends iptables
	elif command -v pacman >/dev/null 2>&1; then
		pacman -Sy --noconfirm --needed iptables
	else
		echo 'limanet: nothing here installs packages' >&2
		return 1
	fi
}

# a part that fails is told; the guest is useful without it
attempt() {
	"$2" || echo "limanet: $1 has failed" >&2
}

if [ "$(cat /run/lima-boot-done 2>/dev/null || true)" = "$LIMA_CIDATA_IID" ]; then
	exit 0
fi
if [ "$LIMA_CIDATA_PLAIN" = 0 ]; then
	attempt 'writing /etc/hosts' set_hosts
	attempt 'writing /etc/environment' set_environment
	attempt 'switching mDNS on' enable_mdns
	attempt 'redirecting DNS' redirect_dns
fi
echo "$LIMA_CIDATA_IID" >/run/lima-ssh-ready
if [ "$LIMA_CIDATA_PLAIN" = 0 ]; then
	# until then the network's own DNS address answers
	if needs_iptables; then
		attempt 'installing iptables' install_iptables
		attempt 'redirecting DNS' redirect_dns
	fi
	failed=0
	for script in "$cidata"/provision-*-system.sh; do
		if [ -f "$script" ]; then "$script" || failed=1; fi
	done
	for script in "$cidata"/provision-*-user.sh; do
		if [ -f "$script" ]; then
			if command -v sudo >/dev/null 2>&1; then
				sudo -iu "$LIMA_CIDATA_USER" "$script" || failed=1
			else
				# this su knows no PAM, and so no /etc/environment
				su - "$LIMA_CIDATA_USER" -c "while IFS= read -r entry; do export \\"\\$entry\\"; done <'$cidata/environment'; '$script'" || failed=1
			fi
		fi
	done
	if [ "$failed" != 0 ]; then
		echo 'limanet: a provision script has failed' >&2
	fi
fi
echo "$LIMA_CIDATA_IID" >/run/lima-boot-done
`;
