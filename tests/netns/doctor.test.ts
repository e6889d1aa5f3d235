/**
 * `limanet doctor` on a machine of its own (namespaces for its network and its files), which is made faulty in one way after
 * the other: the fault is found and nothing else, and nothing is found when it is gone. Fixes that are commands are run.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Finding } from "../../lib/doctor/finding.ts";
import { AREA_EXIT_CODES, type Area } from "../../lib/doctor/area.ts";
import { CHECKS } from "../../lib/doctor/areas.ts";
import { partNames } from "../../lib/vmnet/host-plan.ts";
import { warningsIn } from "../../lib/daemon/vmnet/blocking.ts";
import { Home } from "../support/machines.ts";
import { LIMANET } from "../support/lab.ts";
import { canUseSudo, PrivateEtc } from "../support/private-etc.ts";

const { bridge: BRIDGE, tap: TAP } = partNames("/run/limanet/socket_vmnet.shared");
const BIN = "/opt/bin";

/** a name server, which refuses whatever it is asked */
const dns = (where: string) =>
  `dnsmasq --conf-file=/dev/null --no-resolv --no-hosts ${where} --pid-file=/run/dns.pid --user=root`;
const DNS = dns("--bind-interfaces --listen-address=127.0.0.1");

/** a machine on which all is well: its own /etc and /dev, programs that are there, one interface, a name server */
const WELL = `
mkdir /run/etc && cp -a /etc/. /run/etc && mount --bind /run/etc /etc && mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d
mount -t sysfs sysfs /sys
mkdir -p /run/dev/net
for node in null zero random urandom tty ptmx net/tun; do cp -a /dev/$node /run/dev/$node; done
mkdir /run/dev/pts /run/dev/shm
install -m 666 /dev/null /run/dev/kvm
mount --bind /run/dev /dev
ip link set lo up
ip link add eth0 type veth peer name far0 && ip link set far0 up && ip addr add 203.0.113.2/24 dev eth0 && ip link set eth0 up
ip route add default via 203.0.113.1
sysctl -qw net.ipv4.ping_group_range='0 2147483647' net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0
mkdir ${BIN} && for program in qemu-img ssh ssh-keygen sudo id sh; do ln -s $(command -v $program) ${BIN}; done
printf '#!/bin/sh\\necho QEMU emulator version 9.2.0\\n' >${BIN}/qemu-system-x86_64 && chmod 755 ${BIN}/qemu-system-x86_64
rm -f /etc/resolv.conf && echo nameserver 127.0.0.1 >/etc/resolv.conf
${DNS}
mkdir -p /opt/limanet/bin && install -m 755 ${LIMANET} /opt/limanet/bin/socket_vmnet
`;

interface Fault {
  id: string;
  /** where one id has several causes */
  how?: string;
  /** shell commands of root's; $HOME_FOLDER is limanet's */
  break: string;
  mend: string;
  /** what the sentences must tell */
  says: RegExp;
  /** rules of the host are root's to see */
  asRoot?: true;
  environment?: Record<string, string>;
  /** other findings that have the same cause */
  also?: readonly string[];
  /** the first line of the fix mends it, in the place of `mend` */
  isFixRun?: true;
}

const program = (name: string, text: string) =>
  `rm -f ${BIN}/${name} && printf '#!/bin/sh\\n%s\\n' ${JSON.stringify(text)} >${BIN}/${name} && chmod 755 ${BIN}/${name}`;
const QEMU = "qemu-system-x86_64";
const qemuWell = program(QEMU, "echo QEMU emulator version 9.2.0");
const without = (name: string) => ({
  break: `mv ${BIN}/${name} ${BIN}/.${name}`,
  mend: `mv ${BIN}/.${name} ${BIN}/${name}`,
});
const NETWORKS = "$HOME_FOLDER/_config/networks.yaml";
/** what is in networks.yaml is in root's file, too */
const sudoers = `LIMANET_HOME=$HOME_FOLDER setpriv --reuid=65534 --regid=65534 --clear-groups $LIMANET sudoers >/etc/sudoers.d/limanet`;
const inNetworks = (expression: string) => ({
  break: `cp -p ${NETWORKS} /run/networks.yaml && sed -i '${expression}' ${NETWORKS} && ${sudoers}`,
  mend: `cp -p /run/networks.yaml ${NETWORKS} && ${sudoers}`,
});
const resolvConf = (text: string) => ({
  break: `printf '${text}' >/etc/resolv.conf`,
  mend: "echo nameserver 127.0.0.1 >/etc/resolv.conf",
});
const hidden = (path: string) => ({
  break: `mount --bind /dev/null ${path}`,
  mend: `umount ${path}`,
});
/** the network shared, up and well */
const up = `ip link add ${BRIDGE} type bridge && ip addr add 192.168.105.1/24 dev ${BRIDGE} && ip link set ${BRIDGE} up && ip tuntap add dev ${TAP} mode tap && ip link set ${TAP} master ${BRIDGE} && sysctl -qw net.ipv4.ip_forward=1`;
const down = `ip link del ${TAP} || true; ip link del ${BRIDGE}; sysctl -qw net.ipv4.ip_forward=0`;
const PID_FILE = "/run/limanet/shared_socket_vmnet.pid";
/** the real daemon of the network shared, once it runs */
const daemon = `mkdir -p /run/limanet && { /opt/limanet/bin/socket_vmnet --pidfile=${PID_FILE} --socket-group=nogroup --vmnet-gateway=192.168.105.1 --vmnet-dhcp-end=192.168.105.254 --vmnet-mask=255.255.255.0 /run/limanet/socket_vmnet.shared >/run/daemon.log 2>&1 & } && until test -s ${PID_FILE}; do kill -0 $! || { cat /run/daemon.log >&2; exit 1; }; done`;
const stopDaemon = `kill $(cat ${PID_FILE}); while test -e ${PID_FILE}; do :; done; rm -r /run/limanet`;
const nft = (text: string) => `printf '%s\\n' '${text}' | nft -f -`;
const flush = "nft flush ruleset";
const vm = (text: string, name = "vm") =>
  `mkdir -p $HOME_FOLDER/${name} && echo '${text}' >$HOME_FOLDER/${name}/lima.yaml && echo limanet >$HOME_FOLDER/${name}/lima-version && chown -R 65534 $HOME_FOLDER/${name}`;
const IMAGE = "images: [{ location: /nowhere, arch: x86_64 }]";
const LONG = "x".repeat(60);

const FAULTS: readonly Fault[] = [
  {
    id: "qemu-missing",
    ...without(QEMU),
    says: /qemu-system-x86_64 is not installed.*apt install/s,
  },
  {
    id: "qemu-broken",
    break: program(QEMU, "echo libfoo.so.1: no such file >&2; exit 127"),
    mend: qemuWell,
    says: /libfoo/,
  },
  {
    id: "qemu-too-old",
    break: program(QEMU, "echo QEMU emulator version 7.1.0"),
    mend: qemuWell,
    says: /7\.1 has no stream network device/,
  },
  {
    id: "qemu-no-reconnect",
    break: program(QEMU, "echo QEMU emulator version 7.2.22"),
    mend: qemuWell,
    says: /7\.2 does not connect again/,
  },
  { id: "program-missing", how: "qemu-img", ...without("qemu-img"), says: /qemu-utils/ },
  { id: "program-missing", how: "ssh", ...without("ssh"), says: /openssh-client/ },
  { id: "program-missing", how: "ssh-keygen", ...without("ssh-keygen"), says: /openssh-client/ },
  {
    id: "no-acceleration",
    break: "mv /dev/kvm /dev/hidden",
    mend: "mv /dev/hidden /dev/kvm",
    says: /no \/dev\/kvm.*modprobe/s,
  },
  {
    id: "acceleration-denied",
    break: "chmod 600 /dev/kvm",
    mend: "chmod 666 /dev/kvm",
    says: /may not use \/dev\/kvm.*usermod -aG kvm/s,
  },
  {
    id: "home-path-too-long",
    break: `true`,
    mend: "true",
    environment: { LIMANET_HOME: `/tmp/${LONG}/${LONG}` },
    also: ["socket-path-too-long"],
    says: /and the system takes 107.*LIMANET_HOME/s,
  },
  {
    id: "socket-path-too-long",
    break: vm(IMAGE, `${LONG}${"x".repeat(10)}`),
    mend: "rm -r $HOME_FOLDER/xxx*",
    says: /instance x+ cannot start: its socket .*ssh.sock.* has 1\d\d octets/,
  },
  {
    id: "home-not-makeable",
    break: "true",
    mend: "true",
    environment: { LIMANET_HOME: "/opt/lima/home" },
    says: /\/opt\/lima\/home is not there, and nobody cannot make it: \/opt belongs to root/,
  },
  {
    id: "home-not-writable",
    break: `chown root ${NETWORKS}`,
    mend: `chown 65534 ${NETWORKS}`,
    isFixRun: true,
    says: /cannot write .*networks.yaml, which belongs to root.*sudo chown -R nobody/s,
  },
  {
    id: "file-unreadable",
    how: "networks.yaml",
    break: `cp -p ${NETWORKS} /run/networks.yaml && echo 'networks: [' >${NETWORKS}`,
    mend: `cp -p /run/networks.yaml ${NETWORKS}`,
    says: /networks.yaml cannot be used: .*networks.yaml:\d/s,
  },
  {
    id: "file-unreadable",
    how: "lima.yaml",
    break: vm("images: 7"),
    mend: "rm -r $HOME_FOLDER/vm",
    says: /vm\/lima.yaml cannot be used: .*images/,
  },
  {
    id: "subnet-taken",
    break:
      "ip link add wg0 type veth peer name far1 && ip link set wg0 up && ip link set far1 up && ip route add 192.168.105.0/25 dev wg0",
    mend: "ip link del wg0",
    says: /The network shared cannot start on 192.168.105.0\/24: a route by wg0 \(a VPN\) has 192.168.105.0\/25/,
  },
  {
    id: "subnet-hidden",
    break: "ip addr add 192.168.5.9/24 dev eth0",
    mend: "ip addr del 192.168.5.9/24 dev eth0",
    says: /Guests of the network default .* the interface eth0 has 192.168.5.0\/24.*user-v2/s,
  },
  {
    id: "networks-overlap",
    ...inNetworks("s/192.168.106.1$/192.168.105.129/; s/192.168.106.254/192.168.105.200/"),
    says: /both shared \(192.168.105.0\/24\) and host/,
  },
  {
    id: "socket-unserved",
    break: vm(`${IMAGE}\nnetworks: [{ socket: /run/switch.sock }]`),
    mend: "rm -r $HOME_FOLDER/vm",
    says: /vm cannot attach to \/run\/switch.sock: nobody serves that socket/,
  },
  {
    id: "ping-forbidden",
    break: "sysctl -qw net.ipv4.ping_group_range='1 0'",
    mend: "sysctl -qw net.ipv4.ping_group_range='0 2147483647'",
    says: /ping_group_range is 1 0.*sysctl/s,
  },
  {
    id: "resolv-conf-broken",
    how: "absent",
    break: "rm /etc/resolv.conf",
    mend: "echo nameserver 127.0.0.1 >/etc/resolv.conf",
    says: /there is no \/etc\/resolv.conf/,
  },
  {
    id: "resolv-conf-broken",
    how: "a link to nothing",
    break: "ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf",
    mend: "rm /etc/resolv.conf && echo nameserver 127.0.0.1 >/etc/resolv.conf",
    says: /link to \/run\/systemd\/resolve\/stub-resolv.conf.*enable --now systemd-resolved/s,
  },
  { id: "no-name-server", ...resolvConf("search example.test\\n"), says: /names no name server/ },
  {
    id: "resolved-silent",
    ...resolvConf("nameserver 127.0.0.53\\n"),
    says: /systemd-resolved \(127.0.0.53\).*restart systemd-resolved/s,
  },
  {
    id: "name-servers-silent",
    ...resolvConf("nameserver 203.0.113.53\\n"),
    says: /203.0.113.53 has not answered within 3.5 s/,
  },
  {
    id: "name-server-silent",
    ...resolvConf("nameserver 203.0.113.53\\nnameserver 127.0.0.1\\n"),
    says: /of the name servers, 203.0.113.53 has not/,
  },
  { id: "sudo-missing", ...without("sudo"), says: /sudo is not installed/ },
  {
    id: "root-paths",
    break: "chmod 777 /opt/limanet/bin",
    mend: "chmod 755 /opt/limanet/bin",
    says: /paths.socketVMNet.*can be written by everybody.*chmod go-w/,
  },
  {
    id: "sudoers",
    how: "missing",
    break: "rm /etc/sudoers.d/limanet",
    mend: sudoers,
    says: /can't read `\/etc\/sudoers.d\/limanet`: there is no such file \(Hint/,
  },
  {
    id: "sudoers",
    how: "of an older networks.yaml",
    break: "sed -i s/.254/.200/ /etc/sudoers.d/limanet",
    mend: sudoers,
    says: /out of sync and must be regenerated/,
  },
  {
    id: "sudoers-ignored",
    how: "not included",
    break: "cp -a /etc/sudoers /run/sudoers && sed -i /includedir/d /etc/sudoers",
    mend: "cp -a /run/sudoers /etc/sudoers",
    says: /is current, and sudo still does not let nobody run.*includedir/s,
  },
  {
    id: "sudoers-ignored",
    how: "by its name",
    break: `cp -p ${NETWORKS} /run/networks.yaml && sed -i s,sudoers.d/limanet,sudoers.d/limanet.conf, ${NETWORKS} && mv /etc/sudoers.d/limanet /etc/sudoers.d/limanet.conf`,
    mend: `cp -p /run/networks.yaml ${NETWORKS} && mv /etc/sudoers.d/limanet.conf /etc/sudoers.d/limanet`,
    says: /sudo skips files with a dot/,
  },
  {
    id: "not-in-group",
    ...inNetworks("s/^group: .*/group: games/"),
    says: /nobody, who is not in the group games/,
  },
  {
    id: "daemon-folder",
    break: "mkdir -p /run/limanet/vmnet && chmod 755 /run/limanet/vmnet",
    mend: "rm -r /run/limanet",
    says: /\/run\/limanet\/vmnet, to which others than root may write or look \(owner 0, group 0, mode 0755\)/,
  },
  {
    id: "network-tool-missing",
    how: "nft",
    ...hidden("/usr/sbin/nft"),
    says: /the program nft is not installed/,
  },
  {
    id: "network-tool-missing",
    how: "ip",
    ...hidden("/usr/bin/ip"),
    says: /the program ip is not installed.*iproute2/s,
  },
  {
    id: "tun-missing",
    break: "mv /dev/net/tun /dev/hidden",
    mend: "mv /dev/hidden /dev/net/tun",
    says: /no \/dev\/net\/tun/,
  },
  {
    id: "forward-blocked",
    how: "by Docker's rules",
    // as Docker makes them
    break: `iptables -P FORWARD DROP && iptables -N DOCKER-USER && iptables -N DOCKER && iptables -A FORWARD -j DOCKER-USER && iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT && iptables -A FORWARD -o docker0 -j DOCKER && iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT && iptables -A DOCKER-USER -j RETURN`,
    mend: flush,
    asRoot: true,
    isFixRun: true,
    says: /shared does not carry guests' packets to the outside, nor what comes back to guests from the outside: Docker drops them \(policy of the chain FORWARD\)/,
  },
  {
    id: "forward-blocked",
    how: "by ufw",
    break: "ufw --force enable",
    mend: "ufw disable && nft flush ruleset",
    asRoot: true,
    isFixRun: true,
    also: ["dns-blocked"],
    says: /shared does not carry guests' packets to the outside.*: ufw drops them/,
  },
  {
    id: "forward-blocked",
    how: "by firewalld's rules",
    break: nft(`table inet firewalld {
      chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        ct state { invalid } drop
        reject with icmpx type admin-prohibited
      };
    };`),
    mend: flush,
    asRoot: true,
    says: /firewalld drops them \(a rule of the chain filter_FORWARD\).*--zone=trusted --add-interface/s,
  },
  {
    id: "forward-blocked",
    how: "by somebody's nftables, what goes out",
    break: nft(
      "table inet mine { chain pass { type filter hook forward priority 0; policy drop; ct state established,related accept; }; };",
    ),
    mend: flush,
    asRoot: true,
    isFixRun: true,
    says: /does not carry guests' packets to the outside: the table inet mine drops them/,
  },
  {
    id: "forward-blocked",
    how: "by somebody's nftables, what comes back",
    break: nft(
      `table ip mine { chain pass { type filter hook forward priority 0; policy drop; iifname "lm-*" accept; }; };`,
    ),
    mend: flush,
    asRoot: true,
    isFixRun: true,
    says: /does not carry what comes back to guests from the outside: the table ip mine drops them/,
  },
  {
    id: "forward-blocked",
    how: "by rules of bridges",
    break: nft(
      "table bridge strict { chain f { type filter hook forward priority 0; policy drop; }; };",
    ),
    mend: flush,
    asRoot: true,
    says: /The network bridged does not carry guests' DHCP on its way to the local network: the table bridge strict/,
  },
  {
    id: "forward-blocked-legacy",
    break: "iptables-legacy -P FORWARD DROP",
    mend: "iptables-legacy -P FORWARD ACCEPT",
    asRoot: true,
    isFixRun: true,
    says: /shared does not carry .*: iptables-legacy has the policy DROP/,
  },
  {
    id: "dns-blocked",
    break: nft(
      `table inet mine { chain in { type filter hook input priority 0; policy drop; iifname "lo" accept; ct state vmap { established : accept, related : accept, invalid : drop }; tcp dport { 22, 80-90 } accept; }; };`,
    ),
    mend: flush,
    asRoot: true,
    says: /guests' questions to the network's DNS: the table inet mine drops them/,
  },
  {
    id: "dns-port-taken",
    break: `kill $(cat /run/dns.pid); while ss -Huln sport = :53 | grep -q .; do :; done; ${dns("--interface=*")}`,
    mend: `kill $(cat /run/dns.pid); while ss -Huln sport = :53 | grep -q .; do :; done; ${DNS}`,
    says: /listens on port 53 of all addresses.*bind-interfaces/s,
  },
  {
    id: "forwarding-off",
    how: "for the host",
    break: `${up} && sysctl -qw net.ipv4.ip_forward=0`,
    mend: down,
    says: /Guests of the network shared do not reach the outside.*ip_forward=1/s,
  },
  {
    id: "forwarding-off",
    how: "for the bridge",
    break: `${up} && sysctl -qw net.ipv4.conf.${BRIDGE}.forwarding=0`,
    mend: down,
    says: /Guests of the network shared do not reach the outside/,
  },
  {
    id: "reverse-path-filter",
    break: "ip rule add fwmark 7 lookup 100 pref 1000 && sysctl -qw net.ipv4.conf.all.rp_filter=1",
    mend: "ip rule del pref 1000 && sysctl -qw net.ipv4.conf.all.rp_filter=0",
    says: /strict rp_filter.*rp_filter = 2/s,
  },
  {
    id: "network-manager",
    break: `${up} && ${program("nmcli", `printf 'eth0:connected\\n${BRIDGE}:connecting (getting IP configuration)\\n${TAP}:connected (externally)\\nlo:unmanaged\\n'`)}`,
    mend: `${down}; rm ${BIN}/nmcli`,
    says: new RegExp(
      `NetworkManager configures ${BRIDGE}.*unmanaged-devices=interface-name:lm`,
      "s",
    ),
  },
  {
    id: "network-left",
    how: "a bridge, which root can tell from a network",
    break: `${up} && ip link del ${TAP}`,
    mend: `ip link del ${BRIDGE} 2>/dev/null || true; sysctl -qw net.ipv4.ip_forward=0`,
    asRoot: true,
    isFixRun: true,
    says: new RegExp(`bridge, addresses and rules of ${BRIDGE}, whose daemon was killed`),
  },
  {
    id: "network-left",
    how: "all of a network whose daemon was killed",
    break: `${daemon} && kill -9 $(cat ${PID_FILE})`,
    mend: "/opt/limanet/bin/socket_vmnet --cleanup 2>/dev/null; rm -r /run/limanet",
    asRoot: true,
    isFixRun: true,
    says: new RegExp(
      `bridge, addresses and rules of ${BRIDGE}, whose daemon was killed.*--cleanup`,
      "s",
    ),
  },
  {
    id: "machine-left",
    break: `${vm(IMAGE)} && touch $HOME_FOLDER/vm/machine.lock && { setsid flock $HOME_FOLDER/vm/machine.lock sleep 1000 >/dev/null 2>&1 & echo $! >/run/flock.pid; } && until ! flock -n $HOME_FOLDER/vm/machine.lock true; do :; done`,
    mend: "kill -- -$(cat /run/flock.pid); rm -r $HOME_FOLDER/vm",
    says: /machine of the instance vm runs on.*limanet stop vm/s,
  },
];

/** kernels of today may be without the rules of old */
const hasLegacyRules =
  canUseSudo && Bun.spawnSync(["unshare", "--net", "iptables-legacy", "-S"]).success;
if (canUseSudo && !hasLegacyRules)
  process.stderr.write("skipped: doctor and iptables-legacy, which this kernel does not have\n");
const possible = FAULTS.filter(({ id }) => id !== "forward-blocked-legacy" || hasLegacyRules);

describe.skipIf(!canUseSudo)("a machine with one fault", () => {
  let machine: PrivateEtc;
  let home: Home;
  let environment: Record<string, string>;

  const sh = (script: string) =>
    machine.must([
      "env",
      `HOME_FOLDER=${home.limanetHome}`,
      `LIMANET=${home.path("limanet")}`,
      "sh",
      "-ec",
      script,
    ]);

  async function doctor(asRoot = false, more: Record<string, string> = {}, ...areas: string[]) {
    const whole = { ...environment, ...more };
    const words = [
      ...["env", "-i", ...Object.entries(whole).map(([key, value]) => `${key}=${value}`)],
      ...[home.path("limanet"), "doctor", "--json", ...areas],
    ];
    const { code, stdout, stderr } = asRoot ? await machine.root(words) : await home.run(words);
    if (stdout === "") throw new Error(stderr);
    const { findings, unseen } = JSON.parse(stdout) as {
      findings: (Finding & { area: Area })[];
      unseen: string[];
    };
    return { code, findings, unseen };
  }
  const nothing = { code: 0, findings: [] };

  beforeAll(async () => {
    machine = new PrivateEtc({ hasNetwork: true, more: WELL });
    await machine.open();
    home = new Home(".", [], machine.enter);
    environment = { PATH: BIN, HOME: home.folder, LIMANET_HOME: home.limanetHome };
    await home.must("network", "list");
    await sh(sudoers);
  }, 60_000);
  afterAll(async () => {
    await machine.root(["sh", "-c", "kill $(cat /run/dns.pid)"]);
    await home.close();
    await machine.close();
  });

  test("a machine on which all is well: nothing is found, and who is not root is told what he does not see", async () => {
    const seen = await doctor();
    expect(seen).toMatchObject(nothing);
    expect(seen.unseen.join()).toContain(`sudo LIMANET_HOME=${home.limanetHome} limanet doctor`);
    expect(await doctor(true)).toEqual({ ...nothing, unseen: [] });
  });

  test("a daemon that comes up behind rules which block it says so, and is up all the same", async () => {
    await sh(
      `iptables -P FORWARD DROP && iptables -N DOCKER-USER && iptables -A FORWARD -j DOCKER-USER`,
    );
    try {
      await sh(daemon);
      const log = await sh("cat /run/daemon.log");
      expect(warningsIn(log)).toEqual([
        `The network shared does not carry guests' packets to the outside, nor what comes back to guests from the outside: Docker drops them (policy of the chain FORWARD) (sudo iptables -I DOCKER-USER -i ${BRIDGE} -j ACCEPT && sudo iptables -I DOCKER-USER -o ${BRIDGE} -j ACCEPT (after each start of Docker))`,
      ]);
      expect(log).toContain("network ready");
    } finally {
      await sh(stopDaemon);
      await sh(flush);
    }
  });

  test("nothing is found while the daemon of a network runs", async () => {
    await sh(daemon);
    try {
      expect(await doctor(true)).toEqual({ ...nothing, unseen: [] });
      expect(await doctor()).toMatchObject(nothing);
    } finally {
      await sh(stopDaemon);
    }
  });

  test.each(
    possible.map((fault) => [fault.how ? `${fault.id}: ${fault.how}` : fault.id, fault] as const),
  )(
    "%s",
    async (_, { id, says, asRoot, also = [], isFixRun, ...fault }) => {
      const ofArea = Object.values(CHECKS).flat();
      await sh(fault.break);
      try {
        const { code, findings } = await doctor(asRoot, fault.environment);
        const ids = [...new Set(findings.map((finding) => finding.id))];
        expect(ids).toEqual([id, ...also]);
        const found = findings.filter((finding) => finding.id === id);
        expect(found.map(({ problem, fix }) => [problem, ...fix].join("\n")).join("\n")).toMatch(
          says,
        );
        const { severity } = ofArea.find((check) => check.id === id)!;
        expect(code).toBe(severity === "limit" ? 0 : AREA_EXIT_CODES[found[0]!.area]);
        if (isFixRun) {
          for (const { fix } of findings)
            await sh(
              fix[0]!
                .replaceAll("sudo ", "")
                .replace(/ \(.*/, "")
                .replace(/^limanet vmnet /, "/opt/limanet/bin/socket_vmnet "),
            );
          expect(await doctor(asRoot)).toMatchObject(nothing);
        }
      } finally {
        await sh(fault.mend);
      }
      expect(await doctor(asRoot)).toMatchObject(nothing);
    },
    60_000,
  );
});
