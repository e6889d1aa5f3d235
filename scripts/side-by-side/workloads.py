"""What is measured: each test works on a running peer and gives {metric: value}.

A daemon that compiles its program as it runs (limanet) needs some time before it is as fast and as cheap as it will be. So
every test begins with work that is not measured, the same for all peers; what the first octets of a fresh daemon cost is told
by itself.
"""
import json
import re
import socket
import statistics
import struct
import sys
import threading
import time

from peers import NETTOOL, PEERS, Peer, cpu_seconds, memory_mb

# seconds of one measurement; bench.py sets them
seconds = 2

WARM_UP = 1
# all but a little of what there is to compile is compiled after so much of a stream in each direction, or of one kind of round
# trip; what the first seconds of it cost stands in rows of their own
LONG_WARM_UP = 8
FRESH = 4
BESIDE_WARM_UP = 4
CONNECTIONS_WARM_UP = 4


def nettool(space, *words, timeout=120):
    return json.loads(space.run(NETTOOL, *map(str, words), check=False, timeout=timeout).stdout.strip().splitlines()[-1])


def line_of(stream, limit):
    """the next line of a process, as JSON; None when it does not come in time"""
    box = []
    thread = threading.Thread(target=lambda: box.append(stream.readline()), daemon=True)
    thread.start()
    thread.join(limit)
    return json.loads(box[0]) if box and box[0] else None


# ---------------------------------------------------------------- TCP streams

def iperf(peer, space, host, port, *options, secs=None):
    """Mbit/s, CPU seconds of the daemon per GB, segments sent again, slowest stream / fastest; None when it failed"""
    secs = secs or seconds
    before = cpu_seconds(peer.pids())
    done = space.run('iperf3', '-c', host, '-p', str(port), '-t', str(max(1, round(secs))), '-J', *options, check=False, timeout=secs + 30)
    used = cpu_seconds(peer.pids()) - before
    try:
        result = json.loads(done.stdout)
        end = result['end']
        octets = end['sum_received']['bytes']
        if not octets:
            raise KeyError(result.get('error', 'no octets came'))
        rates = [stream['receiver']['bits_per_second'] for stream in end['streams']]
        return end['sum_received']['bits_per_second'] / 1e6, used / (octets / 1e9), end['sum_sent'].get('retransmits'), min(rates) / max(rates)
    except (KeyError, ValueError) as why:
        sys.stderr.write(f'  iperf3 failed: {why} {done.stdout[-200:]}\n')
        return None


def warm_up_streams(peer, secs=LONG_WARM_UP):
    for options in ((), ('-R',)):
        peer.guest.run('iperf3', '-c', peer.about['host'], '-p', '5201', '-t', str(secs), *options, check=False, timeout=30)


def first_streams(peer):
    """what a fresh daemon's first octets cost, and then what makes it warm"""
    found = {}
    for name, options in (('up1', []), ('down1', ['-R'])):
        result = iperf(peer, peer.guest, peer.about['host'], 5201, *options, secs=FRESH)
        if result is not None:
            found[f'tcp_{name}_fresh_cpu_s_per_GB'] = result[1]
    warm_up_streams(peer, LONG_WARM_UP - FRESH)
    return found


def to_host(peer):
    return peer.guest, (peer.about['host'], 5201)


def forwarded(peer):
    return peer.host, peer.forwarded('tcp')


# from where to where, and iperf3's options
STREAMS = {'up1': (to_host, ()), 'up8': (to_host, ('-P', '8')), 'down1': (to_host, ('-R',)), 'down8': (to_host, ('-R', '-P', '8')),
           'fwd1': (forwarded, ())}


def stream(peer, to, options, secs):
    space, (host, port) = to(peer)
    return iperf(peer, space, host, port, *options, secs=secs)


def stream_turn(name):
    """a test of half as long as one measurement"""
    def turn(peer):
        result = stream(peer, *STREAMS[name], seconds / 2)
        if result is None:
            return {}
        rate, cpu, again, fairness = result
        found = {f'tcp_{name}_mbps': rate, f'tcp_{name}_cpu_s_per_GB': cpu, f'tcp_{name}_retr': again}
        return found | {f'tcp_{name}_fairness': fairness} if name.endswith('8') else found
    return turn


def first_guests(peer):
    """a second VM, and what makes the way to the host and to it warm; a peer without a daemon has its two ends already"""
    if peer.about['api'] == 'direct':
        return {}
    other = peer.another_guest()
    peer.processes.append(other.start('iperf3', '-s', '-p', '5203'))
    warm_up_streams(peer)
    peer.guest.run('iperf3', '-c', other.address, '-p', '5203', '-t', str(WARM_UP), check=False, timeout=30)
    return {}


def guests_turn(peer):
    """guest to host, from VM to VM on the same daemon, and that with three idle VMs more; without a daemon from end to end"""
    def run(name, host, port):
        result = iperf(peer, peer.guest, host, port, secs=seconds / 2)
        return {} if result is None else {f'{name}_mbps': result[0], f'{name}_cpu_s_per_GB': result[1]}

    if peer.about['api'] == 'direct':
        return run('vm', peer.about['host'], 5201)
    found, other = run('host', peer.about['host'], 5201), peer.guests[1].address
    before = run('vm', other, 5203)
    idle = [peer.another_guest() for _ in range(3)]
    found |= run('vm_3_idle', other, 5203)
    for guest in idle:
        peer.let_go(guest)
    after = run('vm', other, 5203)
    found |= after
    if before and after and 'vm_3_idle_mbps' in found:
        found['vm_3_idle_part'] = found['vm_3_idle_mbps'] / statistics.mean((before['vm_mbps'], after['vm_mbps']))
    return found


def loss(peer):
    """over a link that loses 1 % and delays by 5 ms; the slow start is not counted"""
    found, host = {}, peer.about['host']
    for name, options in (('up1', []), ('down1', ['-R'])):
        result = iperf(peer, peer.guest, host, 5201, '-O', '1', *options, secs=1.5 * seconds)
        if result is not None:
            found[f'loss_{name}_mbps'] = result[0]
    return found


# ---------------------------------------------------------------- round trips

def dns_question(name):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    return (struct.pack('>HHHHHH', 1, 0x0100, 1, 0, 0, 0) + labels + b'\0' + struct.pack('>HH', 1, 1)).hex()


def ping(space, to, count, interval):
    """round trips in µs, sorted, and the part lost in percent"""
    text = space.run('ping', '-n', '-c', str(count), '-i', str(interval), '-W', '1', to, check=False).stdout
    times = sorted(float(t) * 1e3 for t in re.findall(r'time=([\d.]+) ms', text))
    return times, 100 * (1 - len(times) / count)


# nettool's word, and the port that answers
TRIPS = {'tcp': ('rr', 7001), 'udp': ('udprr', 7003)}


def first_trips(peer):
    guest, host, found = peer.guest, peer.about['host'], {}
    for name, to in (('gw', peer.about['gw']), ('host', host)):
        times, lost = ping(guest, to, 100, .005)
        if times:
            found[f'ping_{name}_min_us'], found[f'ping_{name}_avg_us'] = times[0], statistics.mean(times)
        found[f'ping_{name}_loss_pct'] = lost
    for name, (kind, port) in TRIPS.items():
        fresh = nettool(guest, kind, host, port, FRESH, 1)
        for what in ('p50_us', 'p99_us'):
            found[f'{name}_rr_fresh_{what}'] = fresh[what]
        nettool(guest, kind, host, port, LONG_WARM_UP - FRESH, 1)
    return found


def trips_turn(name):
    def turn(peer):
        kind, port = TRIPS[name]
        result = nettool(peer.guest, kind, peer.about['host'], port, seconds / 2, 1)
        return {f'{name}_rr_{what}': result[what] for what in ('tps', 'p50_us', 'p99_us')}
    return turn


def beside(peer):
    """round trips while one TCP stream runs, once in each direction"""
    guest, host, found = peer.guest, peer.about['host'], {}
    warm_up_streams(peer)
    name = peer.about['zone'] or 'up.example.test'
    for direction, options in (('up', []), ('down', ['-R'])):
        stream = guest.start('iperf3', '-c', host, '-p', '5201', '-t', '60', *options)
        time.sleep(WARM_UP)
        for what, (kind, to, port, last) in (('tcp_rr', ('rr', host, 7001, 1)), ('udp_rr', ('udprr', host, 7003, 1)),
                                             ('dns', ('ask', peer.about['dns'], 53, dns_question(name)))):
            if to is None:
                continue
            nettool(guest, kind, to, port, BESIDE_WARM_UP, last)
            result = nettool(guest, kind, to, port, .5 * seconds, last)
            if result['trans']:
                found[f'beside_{direction}_{what}_p50_us'] = result['p50_us']
                found[f'beside_{direction}_{what}_p99_us'] = result['p99_us']
            found[f'beside_{direction}_{what}_errors'] = result['errors']
        times, lost = ping(guest, host, 250, .004)
        if times:
            found[f'beside_{direction}_ping_p99_us'] = times[len(times) * 99 // 100]
        found[f'beside_{direction}_ping_loss_pct'] = lost
        stream.terminate()
        stream.wait()
        time.sleep(.3)
    return found


def connections(peer, at_once, secs):
    """connections with one octet there and back: how many a second, p99 in µs, and how many failed"""
    result = nettool(peer.guest, 'crr', peer.about['host'], 7001, secs, at_once)
    return {'cps': result['conns'] / secs, 'p99_us': result['p99_us'], 'errors': result['errors']}


def first_connections(peer):
    nettool(peer.guest, 'rr', peer.about['host'], 7001, LONG_WARM_UP, 1)
    connections(peer, 8, CONNECTIONS_WARM_UP)
    return {}


# in this order, since each makes the next ones slower for some
CONNECTIONS = {'crr1': 1, 'crr8': 8, 'crr64': 64, 'crr1_late': 1}


def connections_turn(name):
    at_once = CONNECTIONS[name]

    def turn(peer):
        found = connections(peer, at_once, seconds / 2 if at_once == 1 else seconds / 4)
        return {f'{name}_{what}': value for what, value in found.items()}
    return turn


# ---------------------------------------------------------------- datagrams

def udp(peer):
    found = {}
    for direction, space, sink, (host, port) in (
            ('up', peer.guest, peer.host_sink, (peer.about['host'], 7002)),
            ('down', peer.host, peer.guest_sink, peer.forwarded('udp'))):

        def send(size, rate):
            """datagrams a second that were sent, and that came"""
            sent = nettool(space, 'udpblast', host, port, seconds / 2, size, rate)
            came = line_of(sink.stdout, 3) or {'pkts': 0}
            return sent['sent'] / sent['secs'], came['pkts'] / sent['secs']

        send(1400, 0)
        for size in (1400, 64):
            found[f'udp_{direction}_{size}_kpps'] = send(size, 0)[1] / 1e3
            sent, came = send(size, 20_000)
            found[f'udp_{direction}_{size}_loss20k_pct'] = 100 * (1 - came / sent)
    return found


def dns(peer):
    found = {}
    if peer.about['dns'] is None:
        return found
    names = [('upstream', 'up.example.test')]
    # the others' answers come from the host's name server alone
    if peer.about['zone'] is not None:
        names = [('zone', peer.about['zone']), *names, ('hosts', 'inhosts.example.test')]
    for kind, name in names:
        questions = f'{peer.folder}/questions'
        open(questions, 'w').write(f'{name} A\n' * 100)
        text = peer.guest.run('dnsperf', '-s', peer.about['dns'], '-d', questions, '-l', str(max(1, seconds // 2)), '-c', '4', '-q', '20', '-t', '2',
                              check=False, timeout=60).stdout
        for metric, pattern, factor in (('qps', r'Queries per second:\s+([\d.]+)', 1), ('lost_pct', r'Queries lost:\s+\d+ \(([\d.]+)%', 1),
                                        ('avg_us', r'Average Latency \(s\):\s+([\d.]+)', 1e6)):
            match = re.search(pattern, text)
            if match:
                found[f'dns_{kind}_{metric}'] = float(match[1]) * factor
        codes = re.search(r'Response codes:\s+(.*)', text)
        if codes and 'NOERROR' not in codes[1]:
            found[f'dns_{kind}_qps'] = 0.0
    return found


def transfers(peer):
    result = nettool(peer.guest, 'sizes', peer.about['host'], 7001, 200, 16)
    return {'xfer_ok': result['ok'], 'xfer_bad': result['bad']}


# ---------------------------------------------------------------- memory

def memory_under_load(peer):
    """idle, then with what it is to hold, then after bulk; `memory_at_rest` looks again when it has had time to give back"""
    host, found = peer.about['host'], {}
    time.sleep(1)
    found['idle_rss_mb'], found['idle_pss_mb'] = memory_mb(peer.pids())
    before = cpu_seconds(peer.pids())
    time.sleep(2)
    found['idle_cpu_pct'] = (cpu_seconds(peer.pids()) - before) / 2 * 100
    holder = peer.guest.start(NETTOOL, 'hold', host, '7001', '1000', '2', stdout=-1, text=True)
    held = line_of(holder.stdout, 60)
    time.sleep(1)
    if held:
        found['hold1000_rss_mb'] = memory_mb(peer.pids())[0]
        found['hold1000_ok'], found['hold1000_open_s'] = held['held'], held['open_secs']
    holder.wait()
    flows = peer.guest.start(NETTOOL, 'udpflows', host, '7003', '1000', stdout=-1, text=True)
    replied = line_of(flows.stdout, 30)
    if replied:
        found['udpflows1000_replied'], found['udpflows1000_rss_mb'] = replied['replied'], memory_mb(peer.pids())[0]
    flows.wait()
    for options in ((), ('-R',)):
        peer.guest.run('iperf3', '-c', host, '-p', '5201', '-t', '2', '-P', '8', *options, check=False, timeout=30)
    nettool(peer.guest, 'crr', host, 7001, 1, 8)
    found['after_rss_mb'] = memory_mb(peer.pids())[0]
    return found


def memory_at_rest(peer):
    return {'rest_rss_mb': memory_mb(peer.pids())[0]}


# ---------------------------------------------------------------- start

def start_once(name, mtu):
    """from exec to a socket that takes connections, and to the gateway's ARP reply, in milliseconds"""
    about = PEERS[name]
    if about['mode'] not in ('stream', 'dgram', 'seqpacket') or name == 'harness':
        return {}
    peer = Peer(name, mtu)
    try:
        peer.start()
        limit = time.monotonic() + 10
        kind = {'stream': socket.SOCK_STREAM, 'dgram': socket.SOCK_DGRAM, 'seqpacket': socket.SOCK_SEQPACKET}[about['mode']]
        while True:
            s = socket.socket(socket.AF_UNIX, kind)
            if kind == socket.SOCK_DGRAM:
                s.bind(f'{peer.folder}/c{time.monotonic_ns()}')
            try:
                s.connect(peer.sock)
                break
            except OSError:
                s.close()
                if time.monotonic() > limit:
                    raise RuntimeError('never listened: ' + peer.log_end())
                time.sleep(.0005)
        listens = time.monotonic()
        mac = bytes(int(octet, 16) for octet in about['mac'].split(':'))
        guest = {'passt': '10.200.1.2', 'qemu-slirp': '10.0.2.15'}.get(name, about['gw'].rsplit('.', 1)[0] + '.9')
        frame = (b'\xff' * 6 + mac + b'\x08\x06' + struct.pack('>HHBBH', 1, 0x800, 6, 4, 1) + mac + socket.inet_aton(guest) +
                 b'\0' * 6 + socket.inet_aton(about['gw']))
        question = struct.pack('>I', len(frame)) + frame if kind == socket.SOCK_STREAM else frame
        s.settimeout(.05)
        answer = b''
        while not (b'\x08\x06' in answer and b'\x00\x02' in answer):
            if time.monotonic() > limit:
                raise RuntimeError('no ARP reply')
            s.send(question)
            try:
                answer = s.recv(4096)
            except socket.timeout:
                pass
        answered = time.monotonic()
        s.close()
        return {'start_listen_ms': (listens - peer.begun) * 1e3, 'start_arp_ms': (answered - peer.begun) * 1e3}
    finally:
        peer.close()


def start(name, mtu):
    several = [start_once(name, mtu) for _ in range(3)]
    return {metric: statistics.median(one[metric] for one in several) for metric in several[0]}


# on a fresh daemon of its own
TESTS = {'xfer': transfers, 'beside': beside, 'udp': udp, 'dns': dns, 'loss': loss}
# what comes first on a fresh daemon, and the turns that follow while others of them run as well
FIRST = {'lat': first_trips, 'tcp': first_streams, 'crr': first_connections, 'guests': first_guests}
# seconds between the two: passt and slirp4netns, and after many connections QEMU's slirp, get slower with every one that there has
# been in the last minute
RESTS = {'crr': 60}
TURNS = {'lat': 3 * [trips_turn(name) for name in TRIPS], 'tcp': 3 * [stream_turn(name) for name in STREAMS],
         'crr': [connections_turn(name) for name in CONNECTIONS for _ in range(3)], 'guests': 6 * [guests_turn]}
