#!/usr/bin/env python3
"""Compares builds of limanet, and peers, by turns while all of them run. Needs root and a quiet machine.

A NAME is a peer of peers.py or the path of a limanet program, with @vhost behind it for a guest that shares its memory. Every
daemon first has -w seconds of each test that is not counted (8), then in every round each has its turn, one right after the
other and each time in another order, so that a minute in which the machine has other work, and what a turn leaves behind,
weigh on all of them. Prints the medians, of streams Mbit/s and the daemon's processor seconds for a GB (1e9 octets), of the
rest the figure that its name tells; -w 0 -n 1 shows fresh daemons.
"""
import argparse
import random
import signal
import statistics
import sys
import time

import workloads
from peers import PEERS, Peer, cpu_seconds


def stream(to, *options):
    def run(peer, secs):
        found = workloads.stream(peer, to, options, secs)
        return None if found is None else {'Mbit/s': found[0], 's/GB': found[1]}
    return run


def to_guest(peer):
    if len(peer.guests) == 1:
        other = peer.another_guest()
        peer.processes.append(other.start('iperf3', '-s', '-p', '5203'))
    return peer.guest, (peer.guests[1].address, 5203)


def trips(kind, port):
    def run(peer, secs):
        found = workloads.nettool(peer.guest, kind, peer.about['host'], port, secs, 1)
        return {'p50 us': found['p50_us'], 'p99 us': found['p99_us']}
    return run


def connections(at_once):
    def run(peer, secs):
        found = workloads.connections(peer, at_once, secs)
        return {'a second': found['cps'], 'p99 us': found['p99_us'], 'errors': found['errors']}
    return run


def datagrams(direction, size):
    def run(peer, secs):
        space, sink, (host, port) = ((peer.guest, peer.host_sink, (peer.about['host'], 7002)) if direction == 'up'
                                     else (peer.host, peer.guest_sink, peer.forwarded('udp')))
        before = cpu_seconds(peer.pids())
        sent = workloads.nettool(space, 'udpblast', host, port, secs, size, 0)
        came = (workloads.line_of(sink.stdout, 3) or {'pkts': 0})['pkts']
        return {'1000/s': came / sent['secs'] / 1e3, 'us each': (cpu_seconds(peer.pids()) - before) * 1e6 / max(1, came)}
    return run


def beside(options, test):
    def run(peer, secs):
        beside_it = peer.guest.start('iperf3', '-c', peer.about['host'], '-p', '5201', '-t', str(secs + 5), *options)
        try:
            time.sleep(.5)
            return test(peer, secs)
        finally:
            beside_it.terminate()
            beside_it.wait()
            time.sleep(.3)
    return run


TESTS = {
    **{name: stream(to, *options) for name, (to, options) in workloads.STREAMS.items()},
    'vm1': stream(to_guest), 'vm8': stream(to_guest, '-P', '8'),
    'rr': trips(*workloads.TRIPS['tcp']), 'udprr': trips(*workloads.TRIPS['udp']),
    'crr1': connections(1), 'crr8': connections(8), 'crr64': connections(64),
    'udpup64': datagrams('up', 64), 'udpup1400': datagrams('up', 1400), 'udpdown64': datagrams('down', 64), 'udpdown1400': datagrams('down', 1400),
    **{f'{direction}_{name}': beside(options, trips(*workloads.TRIPS[kind]))
       for direction, options in (('up', ()), ('down', ('-R',))) for name, kind in (('rr', 'tcp'), ('udprr', 'udp'))},
}


def named(word):
    """the peer that a word of the command line means"""
    if word not in PEERS:
        program, _, attached = word.partition('@')
        like = PEERS['limanet-vhost' if attached == 'vhost' else 'limanet']
        PEERS[word] = {**like, 'cmd': [program, *like['cmd'][1:]]}
    return word


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('names', nargs='+', metavar='NAME')
    options.add_argument('-m', dest='mtu', type=int, default=1500, metavar='MTU')
    options.add_argument('-n', dest='rounds', type=int, default=3, metavar='ROUNDS')
    options.add_argument('-s', dest='seconds', type=int, default=2, metavar='SECONDS')
    options.add_argument('-w', dest='warm_up', type=int, default=8, metavar='SECONDS')
    options.add_argument('-t', dest='tests', default='up1,down1', metavar='TEST,TEST', help=', '.join(TESTS))
    given = options.parse_args()
    tests = given.tests.split(',')
    for test in tests:
        if test not in TESTS:
            options.error(f'there is no test {test}; there are {", ".join(TESTS)}')
    peers = []
    found = {}
    try:
        for name in given.names:
            peers.append(Peer(named(name), given.mtu))
            peers[-1].up()
            for test in tests if given.warm_up else ():
                TESTS[test](peers[-1], given.warm_up)
        for _ in range(given.rounds):
            for test in tests:
                for peer in random.sample(peers, len(peers)):
                    for what, value in (TESTS[test](peer, given.seconds) or {}).items():
                        found.setdefault((test, peer.name, what), []).append(value)
    finally:
        for peer in peers:
            peer.close()
    for (test, name, what), values in sorted(found.items(), key=lambda one: (tests.index(one[0][0]), given.names.index(one[0][1]))):
        print(f'{test:12}{name:40}{what:10}{statistics.median(values):10.4g}   ', ' '.join(f'{value:.4g}' for value in values))


if __name__ == '__main__':
    # the namespaces and daemons end with it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
