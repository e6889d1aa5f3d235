#!/usr/bin/env python3
"""Runs one identical network workload against several VM-network daemons, in rounds in which all take turns. Needs root.

  bench.py list                            known peers
  bench.py all [-n ROUNDS] [-s SECS] [-o OUT.json]
                                           what docs/benchmarks.md is made from (`scripts/bench`)
  bench.py run PEER[:MTU] ... [-n ROUNDS] [-s SECS] [-o OUT.json] [-t test,test]
                                           tests: start lat xfer beside tcp crr udp dns guests loss mem
  bench.py smoke PEER[:MTU]                DHCP, ping, DNS, TCP, UDP, forward: prints what works
  bench.py shell PEER[:MTU] -- CMD...      brings a peer up and runs CMD (env: H, G, SOCK, API, GW, HOST, GUEST, PID, DIR)
  bench.py table OUT.json ...              medians as a Markdown table, with the smallest and the largest

peers.py tells what surrounds a daemon and how to add one, workloads.py what is measured.
"""
import json
import os
import platform
import random
import shutil
import signal
import subprocess as sp
import sys
import time

import report
import workloads
from peers import BUILT, NETTOOL, PEERS, Peer, load_peers, memory_mb

# a fresh daemon for every group: what one leaves behind (flows of UDP, heap) must not weigh on the next
GROUPS = ('start', 'lat', 'xfer', 'beside', 'tcp', 'crr', 'udp', 'dns', 'guests', 'loss')
# percent of the frames, and milliseconds, each way
LOSSY_LINK = (1, 5)
REST_SECONDS = 60

ALL = ['limanet', 'qemu-slirp', 'slirp4netns', 'passt']
# what a guest that shares its memory does as well: starts and DNS are the same, and the daemon's memory would have the guest's in it
BY_MEMORY_TOO = ('lat', 'beside', 'tcp', 'crr', 'udp')
# QEMU's slirp has no MTU to be set
LARGE = [*report.OWN, 'slirp4netns', 'passt']
# Debian 12's passt fails half-closed transfers and streams that lose segments, and waits for minutes then
WITHOUT_PASST = [*report.OWN, 'qemu-slirp', 'slirp4netns']


def one_round():
    """(peers with their MTU, the kind of work) in their order"""
    for group in ('start', 'lat', 'beside', 'tcp', 'crr', 'udp', 'dns'):
        yield [(name, 1500) for name in (*ALL, *(('limanet-vhost',) if group in BY_MEMORY_TOO else ()))], group
    for group in ('xfer', 'loss'):
        yield [(name, 1500) for name in WITHOUT_PASST], group
    for mtu in (9000, 65520):
        yield [(name, mtu) for name in LARGE], 'tcp'
    for mtu in (1500, 65520):
        yield [(name, mtu) for name in (*report.OWN, *report.CEILINGS)], 'guests'


def spec(text):
    name, _, mtu = text.partition(':')
    return name, int(mtu or 1500)


class Results:
    """{machine, peers: {"NAME:MTU": {metric: [a value each round]}}}, on disk after each step"""

    def __init__(self, path):
        self.path = path
        cpu = next((line.split(':', 1)[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')), platform.machine())
        self.all = {'machine': {'cpu': cpu, 'processors': os.cpu_count(), 'system': f'{platform.system()} {platform.release()}',
                                'date': time.strftime('%Y-%m-%d', time.gmtime())}, 'peers': {}}

    def add(self, name, mtu, found):
        metrics = self.all['peers'].setdefault(f'{name}:{mtu}', {})
        for metric, value in {'load': os.getloadavg()[0], **found}.items():
            metrics.setdefault(metric, []).append(value)
        with open(self.path, 'w') as file:
            json.dump(self.all, file, indent=1)


def brought_up(peer):
    """what is found on the way"""
    peer.up()
    time.sleep(.3)
    return {'dhcp_ms': peer.guest.dhcp_ms} if hasattr(peer.guest, 'dhcp_ms') else {}


def worked(peer, work):
    """what a piece of work finds, whose daemon is to outlive it"""
    try:
        return work(peer)
    finally:
        if peer.daemon.poll() is not None:
            sys.stderr.write(f'  {peer.name}: the daemon died: {peer.log_end()}\n')


def session(name, mtu, group):
    """what is found on a fresh daemon"""
    if group == 'start':
        return workloads.start(name, mtu)
    peer = Peer(name, mtu, LOSSY_LINK if group == 'loss' else None)
    try:
        found = brought_up(peer)
        if group == 'loss':
            found.clear()
        found |= worked(peer, workloads.TESTS[group])
        if 'KEEPLOG' in os.environ:
            shutil.copy(f'{peer.folder}/log', f'{BUILT}/{name}.log')
    finally:
        peer.close()
    return found


def one_after_the_other(results, peers, group):
    """each on its own fresh daemon"""
    for name, mtu in peers:
        begun = time.monotonic()
        try:
            results.add(name, mtu, session(name, mtu, group))
        except Exception as why:
            sys.stderr.write(f'  {name}:{mtu} {group}: {type(why).__name__} {why}\n')
        sys.stderr.write(f'  {name}:{mtu} {group}: {time.monotonic() - begun:.0f} s\n')


def by_turns(results, peers, group):
    """
    Fresh daemons of all peers at once, of which one at a time has work: what the machine has to do besides weighs on all of
    them alike. Each time in another order: what one leaves behind is not always the same one's burden.
    """
    begun, running, failed = time.monotonic(), [], []

    def take(peer, work):
        """what a failure costs is the peer's other turns: passt's can hang, and would again"""
        try:
            results.add(peer.name, peer.mtu, work(peer))
        except Exception as why:
            sys.stderr.write(f'  {peer.name}:{peer.mtu} {group}: {type(why).__name__} {why}\n')
            failed.append(peer)

    try:
        for name, mtu in peers:
            peer = Peer(name, mtu)
            running.append(peer)
            take(peer, lambda one: brought_up(one) | worked(one, workloads.FIRST[group]))
        time.sleep(workloads.RESTS.get(group, 0))
        for work in workloads.TURNS[group]:
            for peer in random.sample(running, len(running)):
                if peer not in failed:
                    take(peer, lambda one: worked(one, work))
    finally:
        for peer in running:
            peer.close()
    sys.stderr.write(f'  {" ".join(f"{name}:{mtu}" for name, mtu in peers)} {group}: {time.monotonic() - begun:.0f} s\n')


def memory(results, names):
    """Loads the peers one after the other, and then lets all of them rest for the same minute."""
    peers = []
    try:
        for name in names:
            peer = Peer(name, 1500)
            peers.append(peer)
            peer.up()
            results.add(name, 1500, workloads.memory_under_load(peer))
        sys.stderr.write(f'  mem: {REST_SECONDS} s of rest\n')
        time.sleep(REST_SECONDS)
        for peer in peers:
            results.add(peer.name, 1500, workloads.memory_at_rest(peer))
    finally:
        for peer in peers:
            peer.close()


def smoke(peer):
    guest, host, about = peer.guest, peer.about['host'], peer.about
    print('dhcp:', getattr(guest, 'options', 'static'))
    for to in (about['gw'], host):
        print('ping', to, guest.run('ping', '-c', '3', '-i', '.2', '-W', '1', to, check=False).stdout.strip().splitlines()[-2:])
    for name in filter(None, (about['zone'], 'up.example.test', 'inhosts.example.test')):
        if about['dns']:
            print('dns', name, guest.run('busybox', 'nslookup', '-type=a', name, about['dns'], check=False).stdout.split()[-3:])
    for words in (('rr', host, 7001, 1, 1), ('udprr', host, 7003, 1, 32), ('xfer', host, 7001, 20, 4, 200000)):
        print(words[0], workloads.nettool(guest, *words))
    to, port = peer.forwarded('tcp')
    print('forward tcp', peer.host.run('iperf3', '-c', to, '-p', str(port), '-t', '1', check=False).stdout.strip().splitlines()[-3:-2])
    to, port = peer.forwarded('udp')
    peer.host.run(NETTOOL, 'udpblast', to, str(port), '1', '100', '1000', check=False)
    print('forward udp', workloads.line_of(peer.guest_sink.stdout, 3))
    print('rss, pss MB', memory_mb(peer.pids()))
    print('log:', peer.log_end())


def main(words):
    def option(flag, default=None):
        if flag not in words:
            return default
        at = words.index(flag)
        value = words[at + 1]
        del words[at:at + 2]
        return value

    load_peers(option('--peers'))
    if not words:
        print(__doc__)
        return 1
    command = words.pop(0)
    if command == 'list':
        for name, about in PEERS.items():
            print(name, about['mode'], ' '.join(about['cmd']))
    elif command == 'table':
        for file in words:
            print(report.full_table(json.load(open(file))['peers']))
    elif command in ('run', 'all'):
        rounds, results = int(option('-n', 3)), Results(option('-o', f'{BUILT}/results.json'))
        workloads.seconds = int(option('-s', 2))
        tests = option('-t', 'start,lat,xfer,beside,tcp,crr,udp,dns,mem').split(',')
        known = [*GROUPS, 'mem']
        unknown = [test for test in tests if test not in known]
        if unknown:
            print(f'bench: there is no test {" ".join(unknown)}; there are {", ".join(known)}', file=sys.stderr)
            return 2
        begun = time.monotonic()
        for number in range(rounds):
            sys.stderr.write(f'round {number + 1} of {rounds}\n')
            given = [spec(word) for word in words]
            for peers, group in one_round() if command == 'all' else ((given, group) for group in GROUPS if group in tests):
                (by_turns if group in workloads.TURNS else one_after_the_other)(results, peers, group)
        if command == 'all':
            memory(results, ALL)
        elif 'mem' in tests:
            memory(results, [spec(word)[0] for word in words])
        results.all['minutes'] = round((time.monotonic() - begun) / 60)
        results.all['rounds'], results.all['seconds'] = rounds, workloads.seconds
        with open(results.path, 'w') as file:
            json.dump(results.all, file, indent=1)
        if command == 'run':
            print(report.full_table(results.all['peers']))
    elif command in ('smoke', 'shell'):
        name, mtu = spec(words[0])
        peer = Peer(name, mtu)
        try:
            peer.up()
            if command == 'smoke':
                smoke(peer)
                return 0
            env = dict(os.environ, H=peer.host.name, G=peer.guest.name, SOCK=peer.sock, API=peer.api, GW=peer.about['gw'],
                       HOST=peer.about['host'], GUEST=peer.guest.address, PID=str(peer.daemon.pid), DIR=peer.folder)
            return sp.run(words[words.index('--') + 1:], env=env).returncode
        finally:
            peer.close()
    return 0


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    sys.exit(main(sys.argv[1:]))
