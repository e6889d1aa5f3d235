"""An application that does what it is told, a line of standard input a step, and tells what it hears. Called with the address
and the port on which it listens; steps: new, say N, close, abort, deaf, listen, urgent, connect ADDRESS PORT."""

import os
import selectors
import socket
import struct
import sys

RESET = struct.pack("ii", 1, 0)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.listen(64)
listener.setblocking(False)
selector = selectors.DefaultSelector()
selector.register(0, selectors.EVENT_READ)
selector.register(listener, selectors.EVENT_READ)
connection = None
connecting = deaf = closing = ended = False
heard = 0
to_say = b""


def tell(*words):
    print(*words, flush=True)


def watch():
    """Waits for what the connection's state asks for."""
    if connection is None:
        return
    events = 0 if deaf or ended or connecting else selectors.EVENT_READ
    if to_say or connecting:
        events |= selectors.EVENT_WRITE
    try:
        selector.unregister(connection)
    except KeyError:
        pass
    if events:
        selector.register(connection, events)


def begin(with_connection):
    global connection
    connection = with_connection
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def drop(reset):
    global connection, ended
    if connection is None:
        return
    try:
        selector.unregister(connection)
    except KeyError:
        pass
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()
    connection = None


def forget():
    """A connection that nobody has taken belongs to what was before."""
    global connecting, deaf, closing, ended, heard, to_say
    drop(True)
    while True:
        try:
            other = listener.accept()[0]
        except BlockingIOError:
            break
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        other.close()
    connecting = deaf = closing = ended = False
    heard = 0
    to_say = b""


def fail(error):
    global ended, to_say, connecting
    connecting = False
    ended = True
    to_say = b""
    tell("refused" if isinstance(error, ConnectionRefusedError) else "reset" if isinstance(error, ConnectionResetError) else error.strerror)


def read():
    global heard, ended
    try:
        octets = connection.recv(65536)
    except BlockingIOError:
        return
    except OSError as error:
        return fail(error)
    if not octets:
        ended = True
        return tell("end")
    if octets.strip(b"g"):
        tell("wrong octets")
    heard += len(octets)
    tell("heard", heard)


def write():
    global to_say, connecting
    if connecting:
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            return fail(ConnectionRefusedError() if error == 111 else OSError(error, os.strerror(error)))
        connecting = False
        tell("connected")
    try:
        to_say = to_say[connection.send(to_say) :] if to_say else to_say
    except BlockingIOError:
        return
    except OSError as error:
        return fail(error)
    if closing and not to_say:
        connection.shutdown(socket.SHUT_WR)


def step(word, *rest):
    global to_say, closing, deaf, connecting
    if word == "new":
        forget()
        tell("ready")
    elif word == "connect":
        begin(socket.socket())
        connecting = True
        connection.connect_ex((rest[0], int(rest[1])))
    elif word == "say":
        to_say += b"s" * int(rest[0])
    elif word == "urgent":
        connection.send(b"u", socket.MSG_OOB)
    elif word == "close":
        closing = True
        if not to_say:
            connection.shutdown(socket.SHUT_WR)
    elif word == "abort":
        drop(True)
    elif word == "deaf":
        deaf = True
    elif word == "listen":
        deaf = False


rest = b""
while True:
    for key, events in selector.select():
        if key.fileobj == 0:
            octets = os.read(0, 4096)
            if not octets:
                raise SystemExit
            *lines, rest = (rest + octets).split(b"\n")
            for line in lines:
                try:
                    step(*line.decode().split())
                except OSError as error:
                    fail(error)
        elif key.fileobj is listener:
            try:
                if connection is None:
                    begin(listener.accept()[0])
                    tell("accepted")
            except BlockingIOError:
                pass  # forgotten before it was taken
        elif key.fileobj is connection:
            if events & selectors.EVENT_WRITE:
                write()
            if connection is not None and events & selectors.EVENT_READ:
                read()
    watch()
