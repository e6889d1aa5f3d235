"""The networks that are compared, and what surrounds them: namespaces, guests, servers.

A guest is a namespace with a TAP device that tapstream pumps into the daemon's socket; the host is a second namespace
that has only lo (and an interface with no way out), in which the daemon and the servers run. So nothing can leave the
machine, and every address is loopback's or inside these namespaces.

A peer of your own: a JSON object in peers.json beside this file, or --peers FILE:
  {"mine": {"cmd": ["/path/daemon", "--listen", "{sock}", "--api", "{api}", "--mtu", "{mtu}"],
            "mode": "stream", "gw": "192.168.127.1", "host": "192.168.127.254", "dns": "192.168.127.1",
            "mac": "5a:94:ef:e4:0c:ee", "zone": "host.containers.internal", "api": "gvproxy"}}
cmd placeholders: {sock} {api} {mtu} {dir} {guest} {peers} (this folder) {built} (.cache/side-by-side).
"mode" is one of tapstream's, or own-tap where the daemon makes the guest's TAP device by itself.
"api": "gvproxy" = forwards by POST /services/forwarder/expose on the unix socket {api};
"api": "static" = the command line itself forwards 127.0.0.1:15202 tcp and :15301 udp of the host to the guest.
"host" is the address at which a guest reaches the host's 127.0.0.1.
"""
import json
import os
import shutil
import socket
import subprocess as sp
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILT = os.path.normpath(f'{HERE}/../../.cache/side-by-side')
NETTOOL, TAPSTREAM, LOSSYLINK = (f'{BUILT}/{tool}' for tool in ('nettool', 'tapstream', 'lossylink'))
FWD_TCP, FWD_UDP = 15202, 15301
TICK = os.sysconf('SC_CLK_TCK')

# a pump at the host's end, too, and nothing or next to nothing between the two
PUMP = ['{built}/tapstream', '--sock', '{sock}', '--netns', '/run/netns/{hostns}', '--tap', 'tap0', '--ip', '192.168.127.254/24', '--mtu', '{mtu}', '--no-ipv6']
DIRECT = dict(mode='stream', gw='192.168.127.254', host='192.168.127.254', dns=None, zone=None, mac='5a:94:ef:e4:0c:ee', ip='192.168.127.2',
              bind='0.0.0.0', api='direct')

PEERS = {
    'limanet': dict(cmd=[f'{HERE}/../../dist/limanet', 'usernet', '--listen-qemu', '{sock}', '-e', '{api}', '--mtu', '{mtu}', '--subnet', '192.168.104.0/24'],
                    mode='stream', gw='192.168.104.2', host='192.168.104.2', dns='192.168.104.2', mac='5a:94:ef:e4:0c:ee', zone='host.lima.internal', api='gvproxy'),
    # the same, of a guest that shares its memory and leaves the cutting of segments to others
    'limanet-vhost': dict(cmd=[f'{HERE}/../../dist/limanet', 'usernet', '--listen-vhost-user', '{sock}', '-e', '{api}', '--mtu', '{mtu}', '--subnet', '192.168.104.0/24'],
                          mode='vhost', gw='192.168.104.2', host='192.168.104.2', dns='192.168.104.2', mac='5a:94:ef:e4:0c:ee', zone='host.lima.internal', api='gvproxy'),
    'gvproxy': dict(cmd=['{peers}/gvproxy', '-listen', 'unix://{api}', '-listen-qemu', 'unix://{sock}', '-mtu', '{mtu}', '-ssh-port', '-1'],
                    mode='stream', gw='192.168.127.1', host='192.168.127.254', dns='192.168.127.1', zone='host.containers.internal',
                    mac='5a:94:ef:e4:0c:ee', api='gvproxy'),
    'gvproxy-vfkit': dict(cmd=['{peers}/gvproxy', '-listen', 'unix://{api}', '-listen-vfkit', 'unixgram://{sock}', '-mtu', '{mtu}', '-ssh-port', '-1'],
                          mode='dgram', gw='192.168.127.1', host='192.168.127.254', dns='192.168.127.1', zone='host.containers.internal',
                          mac='5a:94:ef:e4:0c:ee', api='gvproxy'),
    'gvproxy-bess': dict(cmd=['{peers}/gvproxy', '-listen', 'unix://{api}', '-listen-bess', 'unixpacket://{sock}', '-mtu', '{mtu}', '-ssh-port', '-1'],
                         mode='seqpacket', gw='192.168.127.1', host='192.168.127.254', dns='192.168.127.1', zone='host.containers.internal',
                         mac='5a:94:ef:e4:0c:ee', api='gvproxy'),
    'gvproxy-vpnkit': dict(cmd=['{peers}/gvproxy', '-listen', 'unix://{api}', '-mtu', '{mtu}', '-ssh-port', '-1'],
                           mode='vpnkit', sock='{api}', gw='192.168.127.1', host='192.168.127.254', dns='192.168.127.1', zone='host.containers.internal',
                           mac='5a:94:ef:e4:0c:ee', api='gvproxy'),
    'lima-usernet': dict(cmd=['{peers}/limausernet', '-endpoint', '{api}', '-listen-qemu', '{sock}', '-mtu', '{mtu}'],
                         mode='stream', gw='192.168.5.2', host='192.168.5.2', dns='192.168.5.2', zone='host.lima.internal', zone_add={'Name': 'lima.internal.', 'Records': [{'Name': 'host', 'IP': '192.168.5.2'}]}, mac='52:55:55:12:34:56', api='gvproxy'),
    'lima-usernet-fd': dict(cmd=['{peers}/limausernet', '-endpoint', '{api}', '-listen', '{sock}', '-mtu', '{mtu}'],
                            mode='fdpass', gw='192.168.5.2', host='192.168.5.2', dns='192.168.5.2', zone='host.lima.internal', zone_add={'Name': 'lima.internal.', 'Records': [{'Name': 'host', 'IP': '192.168.5.2'}]}, mac='52:55:55:12:34:56', api='gvproxy'),
    'passt': dict(cmd=['passt', '-f', '-s', '{sock}', '-m', '{mtu}', '-t', '127.0.0.1/%d:5202' % FWD_TCP, '-u', '127.0.0.1/%d:5301' % FWD_UDP,
                       '-a', '10.200.1.2', '-n', '24', '-g', '10.200.1.254', '-4', '--runas', '0:0'],
                  mode='stream', gw='10.200.1.254', host='10.200.1.254', dns='10.200.1.254', zone=None, mac='52:55:55:12:34:56', api='static'),
    'passt-2026': dict(cmd=['{peers}/passt-2026', '-f', '-s', '{sock}', '-m', '{mtu}', '-t', '127.0.0.1/%d:5202' % FWD_TCP, '-u', '127.0.0.1/%d:5301' % FWD_UDP,
                            '-a', '10.200.1.2', '-n', '24', '-g', '10.200.1.254', '-4', '--runas', '0:0'],
                       mode='stream', gw='10.200.1.254', host='10.200.1.254', dns='10.200.1.254', zone=None, mac='52:55:55:12:34:56', api='static'),
    'qemu-slirp': dict(cmd=['qemu-system-x86_64', '-M', 'none', '-nodefaults', '-display', 'none', '-monitor', 'none', '-serial', 'none',
                            '-netdev', 'user,id=u,hostfwd=tcp:127.0.0.1:%d-:5202,hostfwd=udp:127.0.0.1:%d-:5301' % (FWD_TCP, FWD_UDP),
                            '-netdev', 'stream,id=s,server=on,addr.type=unix,addr.path={sock}',
                            '-netdev', 'hubport,id=h0,hubid=0,netdev=u', '-netdev', 'hubport,id=h1,hubid=0,netdev=s'],
                       mode='stream', gw='10.0.2.2', host='10.0.2.2', dns='10.0.2.3', zone=None, mac='52:55:55:12:34:56', api='static'),
    'slirp4netns': dict(cmd=['slirp4netns', '--netns-type=path', '-c', '--mtu={mtu}', '--api-socket={api}', '/run/netns/{guest}', 'tap0'],
                        mode='own-tap', gw='10.0.2.2', host='10.0.2.2', dns='10.0.2.3', zone=None, ip='10.0.2.100', api='slirp4netns'),
    # the harness itself: TAP -> socket -> TAP with no daemon, and with one that looks at nothing; their figures are the ceiling
    # of this method
    'harness': DIRECT | dict(cmd=[*PUMP, '--listen']),
    'relay': DIRECT | dict(cmd=['sh', '-c', '"$0" "$1" & shift; exec "$@"', '{built}/relay', '{sock}', *PUMP]),
}


def load_peers(path=None):
    for file in [f'{HERE}/peers.json', path]:
        if file and os.path.exists(file):
            PEERS.update(json.load(open(file)))


def sh(*words, check=True, **more):
    done = sp.run(list(words), stdout=sp.PIPE, stderr=sp.PIPE, text=True, **more)
    if check and done.returncode:
        raise RuntimeError(f'{words}: {done.returncode}: {done.stderr[-400:]} {done.stdout[-200:]}')
    return done


def http_unix(path, method, url, body=None):
    """status and text of a short answer"""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(path)
    content = json.dumps(body).encode() if body is not None else b''
    s.sendall(f'{method} {url} HTTP/1.1\r\nHost: u\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n'.encode() + content)
    answer = b''
    while piece := s.recv(65536):
        answer += piece
    s.close()
    head, _, rest = answer.partition(b'\r\n\r\n')
    return int(head.split()[1]), rest.decode()


def cpu_seconds(pids):
    """user and system seconds of processes"""
    ticks = 0
    for pid in pids:
        try:
            fields = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / TICK


def memory_mb(pids):
    """resident and proportional size"""
    rss = pss = 0
    for pid in pids:
        try:
            for line in open(f'/proc/{pid}/smaps_rollup'):
                if line.startswith('Rss:'):
                    rss += int(line.split()[1])
                if line.startswith('Pss:'):
                    pss += int(line.split()[1])
        except OSError:
            pass
    return rss / 1024, pss / 1024


def family(pid):
    """a process and all below it"""
    found = [pid]
    try:
        for task in os.listdir(f'/proc/{pid}/task'):
            for child in open(f'/proc/{pid}/task/{task}/children').read().split():
                found += family(int(child))
    except OSError:
        pass
    return found


class Space:
    """A network namespace of this run."""
    made = 0

    def __init__(self, kind):
        Space.made += 1
        self.name = f'b{os.getpid()}x{Space.made}{kind}'
        self.path = f'/run/netns/{self.name}'
        sh('ip', 'netns', 'add', self.name)
        self.ip('link', 'set', 'lo', 'up')
        for key, value in {'net.ipv4.ping_group_range': '0 2147483647', 'net.ipv4.ip_local_port_range': '2000 65000',
                           'net.ipv4.tcp_tw_reuse': '1', 'net.ipv4.tcp_max_tw_buckets': '2000000', 'net.core.somaxconn': '65535'}.items():
            self.run('sysctl', '-qw', f'{key}={value}', check=False)
        # some machines default to bbr, whose pacing makes short runs erratic: a plain loss-based one, the same everywhere
        for control in ('cubic', 'reno'):
            if not self.run('sysctl', '-qw', f'net.ipv4.tcp_congestion_control={control}', check=False).returncode:
                break

    def ip(self, *words, check=True):
        return sh('ip', '-n', self.name, *words, check=check)

    def run(self, *words, **more):
        return sh('ip', 'netns', 'exec', self.name, *words, **more)

    def start(self, *words, **more):
        more.setdefault('stdout', sp.DEVNULL)
        more.setdefault('stderr', sp.DEVNULL)
        return sp.Popen(['ip', 'netns', 'exec', self.name, *words], **more)

    def close(self):
        sh('ip', 'netns', 'del', self.name, check=False)


class Host(Space):
    def __init__(self):
        super().__init__('h')
        # a black hole, so that tools that look for "the external interface" find one
        self.ip('link', 'add', 'dummy0', 'type', 'veth', 'peer', 'name', 'dummy1')
        self.ip('link', 'set', 'dummy1', 'up')
        self.ip('addr', 'add', '10.200.1.1/24', 'dev', 'dummy0')
        self.ip('link', 'set', 'dummy0', 'up')
        self.ip('route', 'add', 'default', 'via', '10.200.1.254', check=False)
        self.files = f'/etc/netns/{self.name}'
        os.makedirs(self.files, exist_ok=True)
        open(f'{self.files}/resolv.conf', 'w').write('nameserver 127.0.0.1\noptions timeout:1 attempts:1\n')
        open(f'{self.files}/hosts', 'w').write('127.0.0.1 localhost\n203.0.113.7 inhosts.example.test\n')

    def close(self):
        super().close()
        shutil.rmtree(self.files, ignore_errors=True)


class Guest(Space):
    """A namespace with its own way into a daemon's network."""

    def __init__(self, peer, mac, mtu):
        super().__init__('g')
        self.peer, self.mac, self.mtu = peer, mac, mtu
        self.pumps = []

    def pump(self, *words):
        process = sp.Popen(words, stdout=sp.PIPE, stderr=sp.PIPE, text=True)
        self.pumps.append(process)
        if process.stdout.readline().strip() != 'ready':
            raise RuntimeError(f'{words[0]}: {process.stderr.read()} {self.peer.log_end()}')

    def attach(self):
        about = self.peer.about
        if about['mode'] == 'own-tap':
            for _ in range(200):
                if about['ip'] in self.ip('addr', 'show', 'tap0', check=False).stdout:
                    break
                time.sleep(.02)
            else:
                raise RuntimeError('no TAP device: ' + self.peer.log_end())
        else:
            words = [TAPSTREAM, '--sock', self.peer.sock, '--mode', about['mode'], '--netns', self.path, '--mac', self.mac,
                     '--mtu', str(self.mtu), '--no-ipv6']
            if 'ip' in about:
                words += ['--ip', about['ip'] + '/24', '--gw', about['gw']]
            if 'BATCH' in os.environ:
                words += ['--batch', os.environ['BATCH']]
            self.pump(*words)
        self.configure()

    def configure(self):
        self.address = self.peer.about.get('ip') or self.dhcp()
        self.ip('link', 'set', 'tap0', 'mtu', str(self.mtu))

    def dhcp(self):
        begun = time.monotonic()
        done = self.run('env', '-i', 'PATH=' + os.environ['PATH'], 'busybox', 'udhcpc', '-i', 'tap0', '-f', '-q', '-n', '-t', '5',
                        '-s', f'{HERE}/udhcpc.sh', '-O', 'search', '-O', 'mtu')
        self.dhcp_ms = (time.monotonic() - begun) * 1e3
        self.options = dict(line[6:].split('=', 1) for line in done.stdout.splitlines() if line.startswith('dhcp: ') and '=' in line)
        return self.options['ip']

    def close(self):
        end(self.pumps)
        super().close()


class FarGuest(Guest):
    """A guest behind a link that loses and delays frames: its TAP device, lossylink, and a bridge to the daemon's card."""

    def __init__(self, peer, mac, mtu, loss_percent, delay_ms):
        super().__init__(peer, mac, mtu)
        self.near = Space('n')
        self.loss, self.delay = loss_percent, delay_ms

    def attach(self):
        about, near = self.peer.about, self.near
        if about['mode'] != 'own-tap':
            self.pump(TAPSTREAM, '--sock', self.peer.sock, '--mode', about['mode'], '--netns', near.path, '--mtu', str(self.mtu), '--no-ipv6')
        for _ in range(200):
            if not near.ip('link', 'show', 'tap0', check=False).returncode:
                break
            time.sleep(.02)
        self.pump(LOSSYLINK, near.path, 'far', self.path, 'tap0', self.mac, str(self.mtu), str(self.loss), str(self.delay))
        near.ip('addr', 'flush', 'dev', 'tap0')
        near.ip('link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0')
        for card in ('tap0', 'far'):
            near.ip('link', 'set', card, 'mtu', str(self.mtu), 'master', 'br0', 'up')
        near.ip('link', 'set', 'br0', 'up')
        if 'ip' in about:
            self.ip('addr', 'add', about['ip'] + '/24', 'dev', 'tap0')
            self.ip('route', 'add', 'default', 'via', about['gw'])
        self.configure()

    def close(self):
        super().close()
        self.near.close()


def end(processes):
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(3)
        except sp.TimeoutExpired:
            process.kill()
            process.wait()


class Peer:
    """One daemon with its guests and, on both sides, the servers of the workloads."""

    def __init__(self, name, mtu, link=None):
        self.name, self.mtu, self.about = name, mtu, PEERS[name]
        self.folder = tempfile.mkdtemp(prefix='bench-')
        self.sock, self.api = f'{self.folder}/n.sock', f'{self.folder}/a.sock'
        self.processes = []
        self.host = Host()
        mac = self.about.get('mac', '5a:94:ef:e4:0c:ee')
        self.guest = Guest(self, mac, mtu) if link is None else FarGuest(self, mac, mtu, *link)
        self.guests = [self.guest]

    def fmt(self, word):
        card = self.guest.near if isinstance(self.guest, FarGuest) else self.guest
        return word.format(sock=self.sock, api=self.api, mtu=self.mtu, dir=self.folder, peers=HERE, built=BUILT,
                           guest=card.name, hostns=self.host.name)

    def log_end(self):
        return open(f'{self.folder}/log').read()[-500:]

    def start(self):
        if self.about['mode'] != 'own-tap' and 'sock' in self.about:
            self.sock = self.fmt(self.about['sock'])
        self.begun = time.monotonic()
        log = open(f'{self.folder}/log', 'w')
        self.daemon = self.host.start(*[self.fmt(word) for word in self.about['cmd']], stdout=log, stderr=log)
        return self

    def attach(self):
        self.guest.attach()
        return self

    def another_guest(self):
        guest = Guest(self, f'5a:94:ef:e4:0d:{len(self.guests):02x}', self.mtu)
        self.guests.append(guest)
        guest.attach()
        return guest

    def let_go(self, guest):
        self.guests.remove(guest)
        guest.close()

    def serve(self):
        host, guest, at = self.host, self.guest, self.about.get('bind', '127.0.0.1')
        for words in (['iperf3', '-s', '-B', at, '-p', '5201'], [NETTOOL, 'serve', '7001', at], [NETTOOL, 'udpecho', '7003', at]):
            self.processes.append(host.start(*words))
        self.host_sink = host.start(NETTOOL, 'udpsink', '7002', at, stdout=sp.PIPE, text=True)
        self.guest_sink = guest.start(NETTOOL, 'udpsink', '5301', '0.0.0.0', stdout=sp.PIPE, text=True)
        self.processes += [self.host_sink, self.guest_sink]
        for words in (['iperf3', '-s', '-p', '5202'], [NETTOOL, 'serve', '7001', '0.0.0.0']):
            self.processes.append(guest.start(*words))
        self.processes.append(host.start('dnsmasq', '-d', '-C', '/dev/null', '-R', '-h', '-i', 'lo', '-z',
                                         '-A', '/up.example.test/203.0.113.9', '-u', 'root', '--local-ttl=60'))
        time.sleep(.4)
        return self

    def forward(self):
        if 'zone_add' in self.about:
            http_unix(self.api, 'POST', '/services/dns/add', self.about['zone_add'])
        if self.about['api'] == 'gvproxy':
            for protocol, local, remote in (('tcp', FWD_TCP, 5202), ('udp', FWD_UDP, 5301)):
                status, text = http_unix(self.api, 'POST', '/services/forwarder/expose', {
                    'local': f'127.0.0.1:{local}', 'remote': f'{self.guest.address}:{remote}', 'protocol': protocol})
                if status != 200:
                    raise RuntimeError(f'expose: {status} {text}')
        elif self.about['api'] == 'slirp4netns':
            for protocol, local, remote in (('tcp', FWD_TCP, 5202), ('udp', FWD_UDP, 5301)):
                s = socket.socket(socket.AF_UNIX)
                s.connect(self.api)
                s.sendall(json.dumps({'execute': 'add_hostfwd', 'arguments': {
                    'proto': protocol, 'host_addr': '127.0.0.1', 'host_port': local, 'guest_addr': self.guest.address, 'guest_port': remote}}).encode())
                s.shutdown(socket.SHUT_WR)
                s.recv(4096)
                s.close()
        return self

    def up(self):
        return self.start().attach().serve().forward()

    def forwarded(self, protocol):
        """where the host's side connects to reach the guest"""
        local, remote = (FWD_TCP, 5202) if protocol == 'tcp' else (FWD_UDP, 5301)
        return (self.guest.address, remote) if self.about['api'] == 'direct' else ('127.0.0.1', local)

    def pids(self):
        return family(self.daemon.pid)

    def close(self):
        end(self.processes)
        for guest in list(self.guests):
            self.let_go(guest)
        if hasattr(self, 'daemon'):
            end([self.daemon])
        self.host.close()
        shutil.rmtree(self.folder, ignore_errors=True)
