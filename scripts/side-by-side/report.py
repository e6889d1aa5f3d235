"""From results to text: the table of goals, the tables of all figures, docs/benchmarks.md and its plot."""
import json
import os
import statistics
import sys

import plot

DOCS = os.path.normpath(f'{os.path.dirname(os.path.abspath(__file__))}/../../docs')
BEGIN, END = '<!-- written by scripts/bench from here -->', '<!-- to here -->'


def figure(x):
    return f'{x:.0f}' if abs(x) >= 100 else f'{x:.1f}' if abs(x) >= 10 else f'{x:.2f}'


def numbers(values):
    return [value for value in values or [] if isinstance(value, (int, float))]


# of these one bad round is too many
WORST = {'crr1_errors': max, 'crr8_errors': max, 'crr64_errors': max, 'crr1_late_errors': max, 'xfer_ok': min}


def told(peers, name, mtu, metric):
    """one figure for what all rounds found"""
    values = numbers(peers.get(f'{name}:{mtu}', {}).get(metric))
    return WORST.get(metric, statistics.median)(values) if values else None


def full_table(peers, mtu=None):
    chosen = {key: metrics for key, metrics in peers.items() if mtu is None or key.endswith(f':{mtu}')}
    # in the order in which the peer that has most of them was measured
    rows = []
    for metrics in sorted(chosen.values(), key=len, reverse=True):
        rows += [metric for metric in metrics if metric not in rows]
    lines = ['| metric | ' + ' | '.join(key if mtu is None else key.split(':')[0] for key in chosen) + ' |', '|---' * (len(chosen) + 1) + '|']
    for row in rows:
        cells = []
        for metrics in chosen.values():
            values = numbers(metrics.get(row))
            spread = f' ({figure(min(values))}..{figure(max(values))})' if len(values) > 1 else ''
            cells.append(figure(statistics.median(values)) + spread if values else '')
        lines.append(f'| {row} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


# ---------------------------------------------------------------- goals

PEERS = ('passt', 'slirp4netns', 'qemu-slirp')
# a guest on a socket, and one that shares its memory
OWN = ('limanet', 'limanet-vhost')
# two guests with pumps and a socket, and what stands between them
CEILINGS = {'harness': 'no daemon', 'relay': 'a program that only copies'}


class Goals:
    """What limanet is to reach, each as one row: what, limanet's, the peers', wanted, and whether each of limanet's reached it."""

    def __init__(self, peers):
        self.peers, self.rows = peers, []

    def of(self, metric, mtu=1500, name='limanet'):
        return told(self.peers, name, mtu, metric)

    def row(self, what, is_most, metric, mtu, bounds_of):
        """bounds_of(name): [(number, where it comes from)] of one of limanet's; the strictest counts"""
        cells = [what, *('' if (value := self.of(metric, mtu, name)) is None else figure(value) for name in (*OWN, *PEERS))]
        wanted, reached = [], []
        for name in OWN:
            value = self.of(metric, mtu, name)
            bounds = [bound for bound in bounds_of(name) if bound[0] is not None]
            if value is None or not bounds:
                reached.append('')
                continue
            limit, whence = (min if is_most else max)(bounds)
            text = f'{"at most" if is_most else "at least"} {figure(limit)}' + (f' ({whence})' if whence else '')
            if text not in wanted:
                wanted.append(text)
            reached.append('yes' if (value <= limit if is_most else value >= limit) else '**no**')
        self.rows.append((*cells, '; '.join(wanted) or 'not measured', *reached))

    def times(self, metric, mtu, factors):
        for name, factor in factors.items():
            value = self.of(metric, mtu, name)
            yield None if value is None else value * factor, name if factor == 1 else f'{factor} × {name}'

    def at_least(self, what, metric, mtu=1500, own=None, **factors):
        self.row(what, False, metric, mtu, lambda _: [*self.times(metric, mtu, factors), (own, '')])

    def at_most(self, what, metric, mtu=1500, own=None, **factors):
        self.row(what, True, metric, mtu, lambda _: [*self.times(metric, mtu, factors), (own, '')])


STREAMS = (('up1', 'guest to host, 1 stream'), ('up8', 'guest to host, 8 streams'), ('down1', 'host to guest, 1 stream'),
           ('down8', 'host to guest, 8 streams'), ('fwd1', 'forwarded port'))


def goals(peers):
    g = Goals(peers)
    qemu, slirp = 'qemu-slirp', 'slirp4netns'
    for mtu in (1500, 9000, 65520):
        for key, what in STREAMS:
            rates = {qemu: 1.5, slirp: 1.5, 'passt': 0.9} if mtu == 1500 else {slirp: 1.2}
            g.at_least(f'TCP, {what}, MTU {mtu}, Mbit/s', f'tcp_{key}_mbps', mtu, **rates)
            g.at_most('the same, CPU s/GB', f'tcp_{key}_cpu_s_per_GB', mtu, passt=1)
        for key in ('up8', 'down8'):
            g.at_least(f'{dict(STREAMS)[key]}, MTU {mtu}: slowest / fastest', f'tcp_{key}_fairness', mtu, own=0.5)
    for kind in ('tcp', 'udp'):
        g.at_most(f'{kind.upper()} request and response, p50 µs', f'{kind}_rr_p50_us', passt=1.2)
        g.at_most(f'{kind.upper()} request and response, p99 µs', f'{kind}_rr_p99_us', own=500)
    for direction, what in (('up', 'guest to host'), ('down', 'host to guest')):
        for kind in ('tcp', 'udp'):
            g.at_most(f'{kind.upper()} request and response beside a stream {what}, p99 µs', f'beside_{direction}_{kind}_rr_p99_us', own=500)
        for kind in ('dns', 'ping'):
            g.at_most(f'{kind} beside a stream {what}, p99 µs', f'beside_{direction}_{kind}_p99_us', own=5000)
    for key, what in (('crr1', '1 at a time'), ('crr8', '8 at a time'), ('crr64', '64 at a time'), ('crr1_late', '1 at a time after all these')):
        g.at_least(f'connect, request, close, {what}, per second', f'{key}_cps', **{qemu: 1})
        g.at_most('the same, errors', f'{key}_errors', own=0)
        if key == 'crr64':
            g.at_most('the same, p99 µs', 'crr64_p99_us', own=100_000)
    for size in (1400, 64):
        for direction in ('up', 'down'):
            g.at_least(f'UDP of {size} octets, {direction}, 1000 packets/s', f'udp_{direction}_{size}_kpps', **{qemu: 1.2})
            g.at_most('the same, % lost of 20,000 a second', f'udp_{direction}_{size}_loss20k_pct', own=0.1)
    for mtu in (1500, 65520):
        def beside(name):
            allowed = {what: g.of('vm_mbps', mtu, peer) for peer, what in CEILINGS.items() if name == 'limanet'}
            known = ''.join(f'; with {what} between the two: {figure(value)}' for what, value in allowed.items() if value is not None)
            return [(g.of('host_mbps', mtu, name), f'guest to host beside it{known}')]

        g.row(f'VM to VM, MTU {mtu}, Mbit/s', False, 'vm_mbps', mtu, beside)
        g.at_least('the same with three idle VMs more, as a part of it', 'vm_3_idle_part', mtu, own=0.95)
    idle = g.of('idle_rss_mb')
    g.at_most('memory, idle, MB', 'idle_rss_mb', own=60)
    for metric, what in (('hold1000_rss_mb', 'with 1000 TCP connections'), ('udpflows1000_rss_mb', 'with 1000 UDP flows')):
        g.row(f'memory, {what}, MB', True, metric, 1500, lambda _: [(idle and idle + 30, 'idle + 30')])
    g.row('memory, a minute after all of it, MB', True, 'rest_rss_mb', 1500, lambda _: [(idle and idle * 1.2, '1.2 × idle')])
    for key, what in (('up1', 'guest to host'), ('down1', 'host to guest')):
        g.at_least(f'1 % of the frames lost and 5 ms delay each way, {what}, Mbit/s', f'loss_{key}_mbps', **{slirp: 0.8})
    g.at_least('transfers of 200 sizes up to 2.9 MB, there and back, identical', 'xfer_ok', own=200)
    return g.rows


def goal_table(rows):
    head = ('what', 'limanet', 'limanet, shared memory', *PEERS, 'wanted', 'reached', 'by shared memory')
    return '\n'.join([f'| {" | ".join(head)} |', '|---' * len(head) + '|', *(f'| {" | ".join(row)} |' for row in rows)])


def reached(rows, column):
    judged = [row[column] for row in rows if row[column]]
    return f'{judged.count("yes")} of {len(judged)}'


# ---------------------------------------------------------------- docs

def write_docs(path):
    results = json.load(open(path))
    machine, peers = results['machine'], results['peers']
    rows = goals(peers)
    loads = numbers([load for metrics in peers.values() for load in metrics.get('load', [])])
    text = [
        f'Measured on {machine["processors"]} processors, {machine["cpu"]}, {machine["system"]}, {machine["date"]}: '
        f'{results["rounds"]} rounds of {results["seconds"]} seconds a measurement, {results["minutes"]} minutes in all; '
        f'load average {min(loads):.1f} to {max(loads):.1f}.',
        f'## What it is to reach\n\n{reached(rows, -2)} reached with the guest on a socket, {reached(rows, -1)} with a guest that shares its memory.',
        goal_table(rows)]
    text += [f'## All figures, MTU {mtu}\n\n{full_table(peers, mtu)}' for mtu in (1500, 9000, 65520)]
    page = open(f'{DOCS}/benchmarks.md').read()
    before, after = page[:page.index(BEGIN)], page[page.index(END):]
    with open(f'{DOCS}/benchmarks.md', 'w') as file:
        file.write(before + BEGIN + '\n\n' + '\n\n'.join(text) + '\n\n' + after)
    with open(f'{DOCS}/benchmarks.svg', 'w') as file:
        file.write(plot.svg(lambda name, mtu, metric: told(peers, name, mtu, metric)))


if __name__ == '__main__':
    write_docs(sys.argv[1])
