#!/usr/bin/env python3
"""bench.py - run one identical network workload against several VM-network daemons.

A "guest" is a network namespace with a TAP that tapstream pumps into the daemon's
socket; the "host" is a second namespace that has only lo (and a dummy interface with
no way out), in which the daemon and the servers run. So nothing can leave the machine,
and every target address is loopback or inside these two namespaces.

  bench.py list                            known peers
  bench.py run PEER[:MTU] ... [-n RUNS] [-o OUT.json] [-t test,test] [-s SECS]
                                           runs are interleaved: every peer once, then again
  bench.py smoke PEER[:MTU]                DHCP, ping, DNS, TCP, UDP, forward: prints what works
  bench.py shell PEER[:MTU] -- CMD...      bring a peer up, run CMD (env: H, G, SOCK, API, GW, HOST, GUEST)
  bench.py table OUT.json [OUT2.json ...]  medians as a Markdown table (min..max with -r)

A peer of your own: put a JSON object in peers.json beside this file, or --peers FILE:
  {"mine": {"cmd": ["/path/daemon", "--listen", "{sock}", "--api", "{api}", "--mtu", "{mtu}"],
            "mode": "stream", "gw": "192.168.127.1", "host": "192.168.127.254", "dns": "192.168.127.1",
            "mac": "5a:94:ef:e4:0c:ee", "zone": "host.containers.internal", "api": "gvproxy"}}
cmd placeholders: {sock} {api} {mtu} {dir} {peers} (this directory) {guest}. "mode" is a tapstream mode.
"api": "gvproxy" = forwards by POST /services/forwarder/expose on unix socket {api};
"api": "static" = the command line itself forwards host 127.0.0.1:15202 tcp, :15301 udp to the guest.
"host" is the guest-side address that reaches the host's 127.0.0.1.
"""
import json, os, re, signal, socket, statistics as S, struct, subprocess as sp, sys, time, tempfile, shutil, threading

HERE = os.path.dirname(os.path.abspath(__file__))
BUILT = f'{HERE}/../../.cache/side-by-side'
NT, TS = f'{BUILT}/nettool', f'{BUILT}/tapstream'
FWD_TCP, FWD_UDP = 15202, 15301

PEERS = {
    'limanet': dict(cmd=[f'{HERE}/../../dist/limanet', 'usernet', '--listen-qemu', '{sock}', '-e', '{api}', '--mtu', '{mtu}', '--subnet', '192.168.104.0/24'],
                    mode='stream', gw='192.168.104.2', host='192.168.104.2', dns='192.168.104.2', mac='5a:94:ef:e4:0c:ee', zone='host.lima.internal', api='gvproxy'),
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
    # the harness itself: TAP -> socket -> TAP with no daemon; its figures are the ceiling of this method
    'harness': dict(cmd=['{peers}/tapstream', '--listen', '--sock', '{sock}', '--netns', '/run/netns/{hostns}', '--tap', 'tap0', '--ip', '192.168.127.254/24',
                         '--mtu', '{mtu}', '--no-ipv6'],
                    mode='stream', gw='192.168.127.254', host='192.168.127.254', dns=None, zone=None, mac='5a:94:ef:e4:0c:ee', ip='192.168.127.2', bind='0.0.0.0', api='direct'),
}


def load_peers(path=None):
    for p in [f'{HERE}/peers.json', path]:
        if p and os.path.exists(p):
            PEERS.update(json.load(open(p)))


def sh(*a, check=True, **k):
    r = sp.run(list(a), stdout=sp.PIPE, stderr=sp.PIPE, text=True, **k)
    if check and r.returncode:
        raise RuntimeError(f'{a}: {r.returncode}: {r.stderr[-400:]} {r.stdout[-200:]}')
    return r


def http_unix(path, method, url, body=None):
    s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(path)
    b = json.dumps(body).encode() if body is not None else b''
    s.sendall(f'{method} {url} HTTP/1.1\r\nHost: u\r\nConnection: close\r\nContent-Length: {len(b)}\r\n\r\n'.encode() + b)
    d = b''
    while True:
        c = s.recv(65536)
        if not c: break
        d += c
    s.close()
    head, _, rest = d.partition(b'\r\n\r\n')
    if b'chunked' in head.lower():
        out = b''
        while rest:
            n, _, rest = rest.partition(b'\r\n'); n = int(n, 16)
            if not n: break
            out += rest[:n]; rest = rest[n + 2:]
        rest = out
    return int(head.split()[1]), rest.decode()


def cpu(pids):
    """user+sys seconds of the processes (and their reaped children)"""
    t = 0
    for p in pids:
        try:
            f = open(f'/proc/{p}/stat').read().rsplit(')', 1)[1].split()
            t += int(f[11]) + int(f[12])
        except OSError: pass
    return t / os.sysconf('SC_CLK_TCK')


def mem(pids):
    rss = pss = 0
    for p in pids:
        try:
            for l in open(f'/proc/{p}/smaps_rollup'):
                if l.startswith('Rss:'): rss += int(l.split()[1])
                if l.startswith('Pss:'): pss += int(l.split()[1])
        except OSError: pass
    return rss, pss


def kids(pid):
    out = [pid]
    try:
        for t in os.listdir(f'/proc/{pid}/task'):
            for c in open(f'/proc/{pid}/task/{t}/children').read().split(): out += kids(int(c))
    except OSError: pass
    return out


class Net:
    """the two namespaces"""
    def __init__(self):
        Net.n = getattr(Net, 'n', 0) + 1
        self.h, self.g = f'b{os.getpid()}x{Net.n}h', f'b{os.getpid()}x{Net.n}g'
        for n in (self.h, self.g):
            sh('ip', 'netns', 'add', n); sh('ip', '-n', n, 'link', 'set', 'lo', 'up')
            for k, v in {'net.ipv4.ping_group_range': '0 2147483647', 'net.ipv4.ip_local_port_range': '2000 65000', 'net.ipv4.tcp_tw_reuse': '1',
                         'net.ipv4.tcp_max_tw_buckets': '2000000', 'net.core.somaxconn': '65535'}.items():
                sh('ip', 'netns', 'exec', n, 'sysctl', '-qw', f'{k}={v}', check=False)
            # some machines default to bbr, whose pacing makes short runs erratic: a plain loss-based one, the same everywhere
            for cc in ('cubic', 'reno'):
                if not sh('ip', 'netns', 'exec', n, 'sysctl', '-qw', f'net.ipv4.tcp_congestion_control={cc}', check=False).returncode: break
        # a black hole, so that tools that look for "the external interface" find one
        sh('ip', '-n', self.h, 'link', 'add', 'dummy0', 'type', 'veth', 'peer', 'name', 'dummy1')
        sh('ip', '-n', self.h, 'link', 'set', 'dummy1', 'up')
        sh('ip', '-n', self.h, 'addr', 'add', '10.200.1.1/24', 'dev', 'dummy0')
        sh('ip', '-n', self.h, 'link', 'set', 'dummy0', 'up')
        sh('ip', '-n', self.h, 'route', 'add', 'default', 'via', '10.200.1.254', check=False)
        d = f'/etc/netns/{self.h}'
        os.makedirs(d, exist_ok=True)
        open(f'{d}/resolv.conf', 'w').write('nameserver 127.0.0.1\noptions timeout:1 attempts:1\n')
        open(f'{d}/hosts', 'w').write('127.0.0.1 localhost\n203.0.113.7 inhosts.example.test\n')

    def ex(self, ns, *a, **k): return sh('ip', 'netns', 'exec', ns, *a, **k)

    def popen(self, ns, *a, **k):
        k.setdefault('stdout', sp.DEVNULL); k.setdefault('stderr', sp.DEVNULL)
        return sp.Popen(['ip', 'netns', 'exec', ns, *a], **k)

    def close(self):
        for n in (self.h, self.g): sh('ip', 'netns', 'del', n, check=False)
        shutil.rmtree(f'/etc/netns/{self.h}', ignore_errors=True)


class Peer:
    def __init__(self, name, mtu, tap_opts=()):
        self.name, self.mtu, self.p = name, mtu, PEERS[name]
        self.procs, self.dir = [], tempfile.mkdtemp(prefix='bench-')
        self.net = Net()
        self.sock, self.api = f'{self.dir}/n.sock', f'{self.dir}/a.sock'
        self.tap_opts = list(tap_opts) + (['--napi'] if os.environ.get('NAPI') else []) + (['--batch', os.environ['BATCH']] if os.environ.get('BATCH') else [])

    def fmt(self, x):
        return x.format(sock=self.sock, api=self.api, mtu=self.mtu, dir=self.dir, peers=HERE, guest=self.net.g, hostns=self.net.h)

    def start(self):
        p = self.p
        if p['mode'] != 'own-tap' and 'sock' in p: self.sock = self.fmt(p['sock'])
        self.t0 = time.monotonic()
        self.log = open(f'{self.dir}/log', 'w')
        self.d = self.net.popen(self.net.h, *[self.fmt(x) for x in p['cmd']], stdout=self.log, stderr=self.log)
        return self

    def attach(self):
        p, n = self.p, self.net
        if p['mode'] == 'own-tap':
            for _ in range(200):
                if n.ex(n.g, 'ip', 'addr', 'show', 'tap0', check=False).stdout.find(p['ip']) > 0: break
                time.sleep(.02)
            else: raise RuntimeError('no tap: ' + open(f'{self.dir}/log').read()[-300:])
            self.ts, self.guest = None, p['ip']
        else:
            a = [TS, '--sock', self.sock, '--mode', p['mode'], '--netns', f'/run/netns/{n.g}', '--mac', p['mac'], '--mtu', str(self.mtu), '--no-ipv6', *self.tap_opts]
            if 'ip' in p: a += ['--ip', p['ip'] + '/24', '--gw', p['gw']]
            self.ts = sp.Popen(a, stdout=sp.PIPE, stderr=open(f'{self.dir}/ts.log', 'w'), text=True)
            if self.ts.stdout.readline().strip() != 'ready': raise RuntimeError('tapstream: ' + open(f'{self.dir}/ts.log').read() + open(f'{self.dir}/log').read()[-500:])
            self.guest = p.get('ip') or self.dhcp()
        n.ex(n.g, 'ip', 'link', 'set', 'tap0', 'mtu', str(self.mtu))
        return self

    def dhcp(self):
        n = self.net; t = time.monotonic()
        r = n.ex(n.g, 'env', '-i', 'PATH=' + os.environ['PATH'], 'busybox', 'udhcpc', '-i', 'tap0', '-f', '-q', '-n', '-t', '5', '-s', f'{HERE}/udhcpc.sh', '-O', 'search', '-O', 'mtu')
        self.dhcp_ms = (time.monotonic() - t) * 1e3
        self.dhcp_opts = dict(l[6:].split('=', 1) for l in r.stdout.splitlines() if l.startswith('dhcp: ') and '=' in l)
        return self.dhcp_opts['ip']

    def serve(self):
        n = self.net; b = self.p.get('bind', '127.0.0.1')
        for a in (['iperf3', '-s', '-B', b, '-p', '5201'], [NT, 'serve', '7001', b], [NT, 'udpecho', '7003', b]):
            self.procs.append(n.popen(n.h, *a))
        self.sink_h = n.popen(n.h, NT, 'udpsink', '7002', b, stdout=sp.PIPE, text=True); self.procs.append(self.sink_h)
        self.sink_g = n.popen(n.g, NT, 'udpsink', '5301', '0.0.0.0', stdout=sp.PIPE, text=True); self.procs.append(self.sink_g)
        for a in (['iperf3', '-s', '-p', '5202'], [NT, 'serve', '7001', '0.0.0.0']): self.procs.append(n.popen(n.g, *a))
        self.procs.append(n.popen(n.h, 'dnsmasq', '-d', '-C', '/dev/null', '-R', '-h', '-i', 'lo', '-z', '-A', '/up.example.test/203.0.113.9', '-u', 'root', '--local-ttl=60'))
        time.sleep(.4)
        return self

    def forward(self):
        p = self.p
        if 'zone_add' in p: http_unix(self.api, 'POST', '/services/dns/add', p['zone_add'])
        if p['api'] == 'gvproxy':
            for proto, l, r in (('tcp', FWD_TCP, 5202), ('udp', FWD_UDP, 5301), ('tcp', 17001, 7001)):
                st, b = http_unix(self.api, 'POST', '/services/forwarder/expose', {'local': f'127.0.0.1:{l}', 'remote': f'{self.guest}:{r}', 'protocol': proto})
                if st != 200: raise RuntimeError(f'expose: {st} {b}')
        elif p['api'] == 'slirp4netns':
            for proto, l, r in (('tcp', FWD_TCP, 5202), ('udp', FWD_UDP, 5301)):
                s = socket.socket(socket.AF_UNIX); s.connect(self.api)
                s.sendall(json.dumps({'execute': 'add_hostfwd', 'arguments': {'proto': proto, 'host_addr': '127.0.0.1', 'host_port': l, 'guest_addr': self.guest, 'guest_port': r}}).encode())
                s.shutdown(socket.SHUT_WR); s.recv(4096); s.close()
        return self

    def fwd(self, tcp=True):
        return (self.guest, 5202 if tcp else 5301) if self.p['api'] == 'direct' else ('127.0.0.1', FWD_TCP if tcp else FWD_UDP)

    def pids(self): return kids(self.d.pid)

    def close(self):
        for q in self.procs + [getattr(self, 'ts', None), getattr(self, 'd', None)]:
            if q and q.poll() is None:
                q.terminate()
        for q in self.procs + [getattr(self, 'ts', None), getattr(self, 'd', None)]:
            if q:
                try: q.wait(3)
                except sp.TimeoutExpired: q.kill(); q.wait()
        self.net.close(); shutil.rmtree(self.dir, ignore_errors=True)


# ---------------------------------------------------------------- tests: each gives {metric: value}
def js(r): return json.loads(r.stdout.strip().splitlines()[-1])


def iperf(b, where, host, port, *opts):
    n = b.net; c0, t0 = cpu(b.pids()), time.monotonic()
    r = n.ex(n.h if where == 'h' else n.g, 'iperf3', '-c', host, '-p', str(port), '-t', str(SECS), '-O', '1', '-J', *opts, check=False, timeout=SECS + 30)
    c = cpu(b.pids()) - c0
    try:
        j = json.loads(r.stdout); e = j['end']
        rx = e['sum_received']
        if not rx.get('bytes'): raise KeyError(j.get('error'))
        gb = rx['bytes'] * (SECS + 1) / SECS / 1e9   # -O 1 s is left out of the sum
        return rx['bits_per_second'] / 1e6, c / gb, e['sum_sent'].get('retransmits')
    except (KeyError, ValueError) as x:
        sys.stderr.write(f'  iperf failed: {x} {r.stdout[-200:]}\n'); return None, None, None


def t_tcp(b):
    o = {}
    for k, w, h, p, a in (('up1', 'g', b.p['host'], 5201, []), ('up8', 'g', b.p['host'], 5201, ['-P', '8']),
                          ('down1', 'g', b.p['host'], 5201, ['-R']), ('down8', 'g', b.p['host'], 5201, ['-R', '-P', '8']),
                          ('fwd1', 'h', *b.fwd(), [])):
        m, c, rt = iperf(b, w, h, p, *a)
        if m is not None: o[f'tcp_{k}_mbps'] = m; o[f'tcp_{k}_cpu_s_per_GB'] = c; o[f'tcp_{k}_retr'] = rt
    return o


def t_lat(b):
    n, o = b.net, {}
    for k, a in (('gw', b.p['gw']), ('host', b.p['host'])):
        r = n.ex(n.g, 'ping', '-q', '-c', '100', '-i', '0.01', '-W', '1', a, check=False).stdout
        m = re.search(r'= ([\d.]+)/([\d.]+)/([\d.]+)/', r); l = re.search(r'([\d.]+)% packet loss', r)
        if m: o[f'ping_{k}_min_us'], o[f'ping_{k}_avg_us'] = float(m[1]) * 1e3, float(m[2]) * 1e3
        if l: o[f'ping_{k}_loss_pct'] = float(l[1])
    j = js(n.ex(n.g, NT, 'rr', b.p['host'], '7001', '2', '1')); o['tcp_rr_tps'], o['tcp_rr_p50_us'], o['tcp_rr_p99_us'] = j['tps'], j['p50_us'], j['p99_us']
    j = js(n.ex(n.g, NT, 'udprr', b.p['host'], '7003', '2', '32')); o['udp_rr_tps'], o['udp_rr_p50_us'], o['udp_rr_p99_us'] = j['tps'], j['p50_us'], j['p99_us']
    return o


def t_crr(b):
    n, o = b.net, {}
    for c in (1, 8, 64):
        j = js(n.ex(n.g, NT, 'crr', b.p['host'], '7001', '3', str(c), timeout=60))
        o[f'crr{c}_cps'], o[f'crr{c}_p99_us'], o[f'crr{c}_errors'] = j['conns'] / 3, j['p99_us'], j['errors']
    return o


def _line(f, t):
    box = []
    th = threading.Thread(target=lambda: box.append(f.readline()), daemon=True); th.start(); th.join(t)
    return json.loads(box[0]) if box and box[0] else None


def t_udp(b):
    n, o = b.net, {}
    for size, tag in ((1400, '1400'), (64, '64')):
        for d, ns, sink, h, p in (('up', n.g, b.sink_h, b.p['host'], 7002), ('down', n.h, b.sink_g, *b.fwd(False))):
            for rate in (0, 20000):
                s = js(n.ex(ns, NT, 'udpblast', h, str(p), '2', str(size), str(rate)))
                r = _line(sink.stdout, 3)
                if not r: r = dict(pkts=0, pps=0, mbps=0)
                if rate == 0: o[f'udp_{d}_{tag}_kpps'] = r['pkts'] / s['secs'] / 1e3; o[f'udp_{d}_{tag}_mbps'] = r['pkts'] * size * 8 / s['secs'] / 1e6
                else: o[f'udp_{d}_{tag}_loss20k_pct'] = 100 * (1 - r['pkts'] / s['sent'])
    return o


def t_dns(b):
    n, o = b.net, {}
    if not b.p['dns']: return o
    for k, name in (('zone', b.p['zone']), ('upstream', 'up.example.test'), ('hosts', 'inhosts.example.test')):
        if not name: continue
        f = f'{b.dir}/q'; open(f, 'w').write(f'{name} A\n' * 100)
        r = n.ex(n.g, 'dnsperf', '-s', b.p['dns'], '-d', f, '-l', '3', '-c', '4', '-q', '20', '-t', '2', check=False, timeout=60).stdout
        q = re.search(r'Queries per second:\s+([\d.]+)', r); l = re.search(r'Queries lost:\s+\d+ \(([\d.]+)%', r); a = re.search(r'Average Latency \(s\):\s+([\d.]+)', r)
        rc = re.search(r'Response codes:\s+(.*)', r)
        if q: o[f'dns_{k}_qps'] = float(q[1])
        if l: o[f'dns_{k}_lost_pct'] = float(l[1])
        if a: o[f'dns_{k}_avg_us'] = float(a[1]) * 1e6
        if rc and 'NOERROR' not in rc[1]: o[f'dns_{k}_qps'] = 0.0
    return o


def t_mem(b):
    n, o = b.net, {}
    o['idle_rss_mb'], o['idle_pss_mb'] = (x / 1024 for x in mem(b.pids()))
    c0 = cpu(b.pids()); time.sleep(2); o['idle_cpu_pct'] = (cpu(b.pids()) - c0) / 2 * 100
    q = n.popen(n.g, NT, 'hold', b.p['host'], '7001', '1000', '3', stdout=sp.PIPE, text=True)
    l = _line(q.stdout, 60); time.sleep(1)
    if l: o['hold1000_rss_mb'], o['hold1000_pss_mb'] = (x / 1024 for x in mem(b.pids())); o['hold1000_ok'], o['hold1000_open_s'] = l['held'], l['open_secs']
    q.wait(); time.sleep(1)
    q = n.popen(n.g, NT, 'udpflows', b.p['host'], '7003', '1000', stdout=sp.PIPE, text=True)
    l = _line(q.stdout, 30)
    if l: o['udpflows1000_replied'] = l['replied']; o['udpflows1000_rss_mb'] = mem(b.pids())[0] / 1024
    q.wait()
    return o


def t_end(b):  # memory after the load
    return {'after_rss_mb': mem(b.pids())[0] / 1024}


def t_xfer(b):
    j = js(b.net.ex(b.net.g, NT, 'xfer', b.p['host'], '7001', '200', '16', '300000', check=False, timeout=120))
    return {'xfer_ok': j['ok'], 'xfer_bad': j['bad']}


def arp_frame(p, guest='0.0.0.0'):
    mac = bytes(int(x, 16) for x in p['mac'].split(':'))
    return b'\xff' * 6 + mac + b'\x08\x06' + struct.pack('>HHBBH', 1, 0x800, 6, 4, 1) + mac + socket.inet_aton(guest) + b'\0' * 6 + socket.inet_aton(p['gw'])


def t_start(name, mtu, ready_api=True):
    """exec -> socket connectable -> ARP reply of the gateway (no guest), milliseconds"""
    b = Peer(name, mtu); p = b.p
    if p['mode'] == 'own-tap' or p['mode'] == 'fdpass' or name == 'harness': b.close(); return {}
    try:
        b.start(); end = time.monotonic() + 10; kind = socket.SOCK_DGRAM if p['mode'] == 'dgram' else socket.SOCK_SEQPACKET if p['mode'] == 'seqpacket' else socket.SOCK_STREAM
        while True:
            s = socket.socket(socket.AF_UNIX, kind)
            if kind == socket.SOCK_DGRAM: s.bind(f'{b.dir}/c{time.monotonic_ns()}')
            try: s.connect(b.sock); break
            except OSError:
                s.close()
                if time.monotonic() > end: raise RuntimeError('never listened: ' + open(f'{b.dir}/log').read()[-300:])
                time.sleep(.0005)
        t1 = time.monotonic(); guest = {'passt': '10.200.1.2', 'qemu-slirp': '10.0.2.15'}.get(name, p.get('guest', p['gw'].rsplit('.', 1)[0] + '.9'))
        f = arp_frame(p, guest); s.settimeout(.05)
        pre = struct.pack('>I', len(f)) if p['mode'] == 'stream' else struct.pack('<H', len(f)) if p['mode'] == 'vpnkit' else b''
        if p['mode'] == 'vpnkit': s.sendall(b'POST /connect HTTP/1.1\r\nHost: u\r\n\r\n')
        s.send(pre + f)
        last = time.monotonic()
        while True:
            try: d = s.recv(4096)
            except socket.timeout: d = b''
            if b'\x08\x06' in d and b'\x00\x02' in d: break
            if time.monotonic() > end: raise RuntimeError('no ARP reply')
            if time.monotonic() - last > .05: s.send(pre + f); last = time.monotonic()
        t2 = time.monotonic()
        r = {'start_listen_ms': (t1 - b.t0) * 1e3, 'start_arp_ms': (t2 - b.t0) * 1e3}
        s.close(); return r
    finally: b.close()


GROUPS = (('lat', 'xfer'), ('tcp', 'end'), ('crr',), ('udp',), ('dns',), ('mem',))
TESTS = dict(lat=t_lat, mem=t_mem, crr=t_crr, tcp=t_tcp, udp=t_udp, dns=t_dns, xfer=t_xfer, end=t_end)
SECS = 4


def spec(x):
    n, _, m = x.partition(':'); return n, int(m or 1500)


def session(x, tests):
    name, mtu = spec(x); o = {'load': os.getloadavg()[0]}
    if 'start' in tests:
        try:
            v = [t_start(name, mtu) for _ in range(5)]
            for k in v[0]: o[k] = S.median(i[k] for i in v)
        except Exception as e: sys.stderr.write(f'  {x} start: {e}\n')
    for group in GROUPS:   # a fresh daemon for every group: what one leaves behind (UDP flows, heap) must not weigh on the next
        todo = [t for t in group if t in tests]
        if not todo: continue
        b = Peer(name, mtu)
        try:
            b.start().attach().serve().forward()
            if hasattr(b, 'dhcp_ms'): o['dhcp_ms'] = b.dhcp_ms
            time.sleep(.5)
            for t in todo:
                try: o.update(TESTS[t](b))
                except Exception as e: sys.stderr.write(f'  {x} {t}: {type(e).__name__} {e}\n'); o[f'{t}_failed'] = str(e)[:200]
                if b.d.poll() is not None: sys.stderr.write(f'  {x}: daemon died: {open(b.dir + "/log").read()[-400:]}\n'); break
            if os.environ.get('KEEPLOG'): shutil.copy(f'{b.dir}/log', f'{BUILT}/{x}.log')
        finally: b.close()
    return o


def table(files, rng=False):
    data = {}
    for f in files:
        for k, v in json.load(open(f)).items(): data.setdefault(k, []).extend(v)
    keys = []
    for v in data.values():
        for o in v:
            for k in o:
                if k not in keys and not k.endswith('_failed'): keys.append(k)
    print('| metric | ' + ' | '.join(f'{k} (n={len(v)})' for k, v in data.items()) + ' |\n|---' * 1 + '|' + '---|' * len(data))
    for k in keys:
        row = []
        for v in data.values():
            x = [o[k] for o in v if isinstance(o.get(k), (int, float))]
            f = lambda y: f'{y:.0f}' if abs(y) >= 100 else f'{y:.1f}' if abs(y) >= 10 else f'{y:.2f}'
            row.append(('' if not x else f(S.median(x)) + (f' ({f(min(x))}..{f(max(x))})' if rng else '')))
        print(f'| {k} | ' + ' | '.join(row) + ' |')


def main(a):
    global SECS
    def opt(f, d=None):
        if f in a: i = a.index(f); v = a[i + 1]; del a[i:i + 2]; return v
        return d
    pf = opt('--peers'); load_peers(pf)
    if not a: print(__doc__); return 1
    c = a.pop(0)
    if c == 'list':
        for k, v in PEERS.items(): print(k, v['mode'], ' '.join(v['cmd']))
    elif c == 'table':
        rng = '-r' in a; table([x for x in a if x != '-r'], rng)
    elif c == 'run':
        n, out, tests = int(opt('-n', 3)), opt('-o', f'{BUILT}/results.json'), opt('-t', 'start,mem,lat,crr,tcp,udp,dns,xfer,end').split(','); SECS = int(opt('-s', 4))
        res = json.load(open(out)) if os.path.exists(out) else {}
        for i in range(n):
            for x in a:
                t = time.monotonic(); sys.stderr.write(f'[{i + 1}/{n}] {x}\n')
                try: res.setdefault(x, []).append(session(x, tests))
                except Exception as e: sys.stderr.write(f'  {x}: {type(e).__name__} {e}\n')
                json.dump(res, open(out, 'w'), indent=1); sys.stderr.write(f'    {time.monotonic() - t:.0f} s\n')
        table([out])
    elif c in ('smoke', 'shell'):
        cmd = a[a.index('--') + 1:] if '--' in a else None
        name, mtu = spec(a[0]); b = Peer(name, mtu)
        try:
            b.start().attach().serve()
            try: b.forward()
            except Exception as e: print('forward:', e)
            n = b.net
            if c == 'shell':
                env = dict(os.environ, H=n.h, G=n.g, SOCK=b.sock, API=b.api, GW=b.p['gw'], HOST=b.p['host'], GUEST=b.guest, PID=str(b.d.pid), DIR=b.dir)
                return sp.run(cmd, env=env).returncode
            print('dhcp:', getattr(b, 'dhcp_opts', 'static'))
            for k in ('gw', 'host'): print('ping', k, n.ex(n.g, 'ping', '-c', '3', '-i', '.2', '-W', '1', b.p[k], check=False).stdout.strip().splitlines()[-2:])
            for q in filter(None, (b.p['zone'], 'up.example.test', 'inhosts.example.test')):
                if b.p['dns']: print('dns', q, n.ex(n.g, 'busybox', 'nslookup', '-type=a', q, b.p['dns'], check=False).stdout.split()[-3:])
            print('tcp rr', n.ex(n.g, NT, 'rr', b.p['host'], '7001', '1', '1', check=False).stdout.strip())
            print('udp rr', n.ex(n.g, NT, 'udprr', b.p['host'], '7003', '1', '32', check=False).stdout.strip())
            print('xfer', n.ex(n.g, NT, 'xfer', b.p['host'], '7001', '20', '4', '200000', check=False).stdout.strip())
            h, p = b.fwd(); print('forward tcp', n.ex(n.h, 'iperf3', '-c', h, '-p', str(p), '-t', '1', check=False).stdout.strip().splitlines()[-3:-2])
            h, p = b.fwd(False); n.ex(n.h, NT, 'udpblast', h, str(p), '1', '100', '1000', check=False); print('forward udp', _line(b.sink_g.stdout, 3))
            print('rss/pss MB', [round(x / 1024, 1) for x in mem(b.pids())])
            print('log:', open(f'{b.dir}/log').read()[-600:])
        finally: b.close()
    return 0


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    try: sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt: sys.exit(130)
