"""Traffic of a guest that checks what comes back, until it is killed. Every outcome is a line:

  load.py tcp HOST PORT OCTETS [SOCKS]   conversations with an echo server: "whole", "reset", "changed" (which must never be)
  load.py udp HOST PORT                  datagrams to an echo server: "whole", "lost", "changed"
  load.py serve HOST PORT                the echo server, on TCP and UDP
  load.py dns SERVER NAME ADDRESS        questions: "whole", "lost", "failed" (the server says so), "changed"
"""
import os, random, socket, struct, sys, threading, time

kind, host, port = sys.argv[1], sys.argv[2], sys.argv[3]
PIECE = 16384


def say(word):
    print(word, flush=True)


def connect():
    if len(sys.argv) <= 5:
        return socket.create_connection((host, int(port)), 5)
    c = socket.create_connection(("127.0.0.1", int(sys.argv[5])), 5)
    c.sendall(b"\x05\x01\x00\x05\x01\x00\x01" + socket.inet_aton(host) + struct.pack("!H", int(port)))
    answer = b""
    while len(answer) < 12:
        piece = c.recv(12 - len(answer))
        if not piece:
            raise ConnectionResetError
        answer += piece
    if answer[3] != 0:
        raise ConnectionResetError
    return c


def conversation():
    """Says octets that nobody can guess and compares each with what comes back."""
    size = random.randint(1, int(sys.argv[4]))
    c = connect()
    with c:
        c.settimeout(10)
        done = 0
        while done < size:
            said = os.urandom(min(PIECE, size - done))
            c.sendall(said)
            heard = b""
            while len(heard) < len(said):
                piece = c.recv(len(said) - len(heard))
                if not piece:
                    return "reset"
                heard += piece
                if not said.startswith(heard):
                    return "changed"
            done += len(said)
        c.shutdown(socket.SHUT_WR)
        return "whole" if c.recv(1) == b"" else "changed"


def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect((host, int(port)))
        said = os.urandom(random.randint(16, 1400))
        s.send(said)
        return "whole" if s.recv(2000) == said else "changed"


def question():
    name, want = sys.argv[3], socket.inet_aton(sys.argv[4])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.connect((host, 53))
        number = random.randint(0, 65535)
        # a name that no cache has
        labels = (f"n{random.getrandbits(32)}." + name).split(".")
        asked = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0\0\1\0\1"
        s.send(struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + asked)
        reply = s.recv(2000)
        if reply[:2] != struct.pack("!H", number):
            return "changed"
        if reply[3] & 15:
            return "failed"
        return "whole" if want in reply[12 + len(asked) :] else "changed"


def echo(c):
    # whoever was killed leaves nobody here for ever
    c.settimeout(15)
    try:
        with c:
            while heard := c.recv(65536):
                c.sendall(heard)
    except OSError:
        pass


def serve():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((host, int(port)))

    def answer():
        while True:
            try:
                udp.sendto(*udp.recvfrom(2000))
            except OSError:
                pass

    threading.Thread(target=answer, daemon=True).start()
    listener = socket.create_server((host, int(port)), backlog=256)
    while True:
        threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()


if kind == "serve":
    serve()
work = {"tcp": conversation, "udp": datagram, "dns": question}[kind]
while True:
    try:
        outcome = work()
    except (socket.timeout, BlockingIOError):
        outcome = "lost" if kind != "tcp" else "reset"
    except OSError:
        outcome = "reset" if kind == "tcp" else "lost"
    say(outcome)
    time.sleep(0.02 if outcome == "whole" else 0.1)
