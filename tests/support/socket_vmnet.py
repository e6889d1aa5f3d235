#!/usr/bin/python3
"""A program with socket_vmnet's command line and framing, for tests: every frame of a client goes to all others, and
DHCP is answered with the addresses behind the gateway. It wants to be root, as the one it stands for."""
import fcntl
import grp
import os
import selectors
import signal
import socket
import struct
import sys

KNOWN = {"pidfile", "socket-group", "vmnet-mode", "vmnet-gateway", "vmnet-dhcp-end", "vmnet-mask", "vmnet-interface"}
options = dict(word[2:].split("=", 1) for word in sys.argv[1:-1])
path = sys.argv[-1]
if set(options) - KNOWN or os.geteuid() != 0:
    sys.exit(f"ERROR| wrong usage: {sys.argv[1:]}, euid {os.geteuid()}")

pid_file = open(options["pidfile"], "a+", encoding="ascii")
try:
    fcntl.flock(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError as error:
    sys.exit(f"ERROR| {options['pidfile']}: {error}")
pid_file.truncate(0)
pid_file.write(str(os.getpid()))
pid_file.flush()


def stop(*_):
    os.unlink(options["pidfile"])
    os._exit(0)


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, stop)
signal.signal(signal.SIGPIPE, signal.SIG_IGN)

if os.path.exists(path):
    os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
os.umask(0o077)
listener.bind(path)
os.chown(path, -1, grp.getgrnam(options["socket-group"]).gr_gid)
os.chmod(path, 0o770)
listener.listen()
print(f"INFO | {options['vmnet-mode']} in {os.getcwd()}", file=sys.stderr, flush=True)

received = {}
addresses = {}


def checksum(octets):
    total = sum(struct.unpack(f">{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def dhcp_reply(frame):
    """the answer to a DISCOVER or REQUEST (RFC 2131); None to anything else"""
    if len(frame) < 282 or frame[12:14] != b"\x08\x00" or frame[23] != 17 or frame[36:38] != b"\0\x43":
        return None
    bootp, message, at = frame[42:], 0, 240
    while at + 2 < len(bootp) and bootp[at] != 255:
        if bootp[at] == 53:
            message = bootp[at + 2]
        at += 2 + bootp[at + 1] if bootp[at] else 1
    answer = {1: 2, 3: 5}.get(message)
    if answer is None:
        return None
    gateway = socket.inet_aton(options["vmnet-gateway"])
    first = int.from_bytes(gateway, "big") + 1
    client = addresses.setdefault(bytes(frame[6:12]), (first + len(addresses)).to_bytes(4, "big"))
    reply = b"\x02" + bootp[1:16] + client + gateway + bootp[24:44] + bytes(192) + b"\x63\x82\x53\x63"
    reply += bytes([53, 1, answer, 54, 4]) + gateway + b"\x33\x04\0\0\x0e\x10\x01\x04"
    reply += socket.inet_aton(options["vmnet-mask"]) + b"\xff"
    udp = struct.pack(">HHHH", 67, 68, 8 + len(reply), 0) + reply
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + gateway + client
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return frame[6:12] + b"\x02\0\0\0\0\x01\x08\0" + head + udp


def send(client, frame):
    try:
        client.sendall(struct.pack(">I", len(frame)) + frame)
    except OSError:
        drop(client)


def drop(client):
    if received.pop(client, None) is not None:
        loop.unregister(client)
        client.close()


loop = selectors.DefaultSelector()
loop.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in loop.select():
        if key.fileobj is listener:
            client, _ = listener.accept()
            received[client] = bytearray()
            loop.register(client, selectors.EVENT_READ)
            continue
        client = key.fileobj
        try:
            chunk = client.recv(65536)
        except OSError:
            chunk = b""
        buffer = received.get(client)
        if not chunk or buffer is None:
            drop(client)
            continue
        buffer += chunk
        while len(buffer) >= 4 and len(buffer) >= 4 + int.from_bytes(buffer[:4], "big"):
            length = int.from_bytes(buffer[:4], "big")
            frame = bytes(buffer[4 : 4 + length])
            del buffer[: 4 + length]
            answer = dhcp_reply(frame)
            if answer is not None:
                send(client, answer)
            else:
                for other in list(received):
                    if other is not client:
                        send(other, frame)
