#!/usr/bin/python3
"""An HTTP/2 server that answers each request with frames that no request waits for, without end.

    h2_flood.py CERT KEY PORT-FILE

What it sends turns with each connection: DATA without a byte, PRIORITY, GOAWAY, all 1,000 at a time, and PRIORITY with a
byte of the answer behind each 250,000. It ends with the process that started it.
"""
import ctypes
import os
import signal
import socket
import ssl
import struct
import sys
import threading

PREFACE_BYTES = 24
HEADERS, PRIORITY, SETTINGS, GOAWAY = 1, 2, 4, 7
STATUS_200 = b"\x88"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def flood(turn, stream):
    priority = frame(PRIORITY, 0, stream, b"\0\0\0\0\1")
    return [
        frame(0, 0, stream) * 1000,
        priority * 1000,
        frame(GOAWAY, 0, 0, struct.pack(">II", 2**31 - 1, 0)) * 1000,
        priority * 250000 + frame(0, 0, stream, b":"),
    ][turn % 4]


def serve(plain, context, turn):
    try:
        with context.wrap_socket(plain, server_side=True) as peer:
            source = peer.makefile("rb")
            source.read(PREFACE_BYTES)
            peer.sendall(frame(SETTINGS, 0, 0))
            while len(head := source.read(9)) == 9:
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
                source.read(int.from_bytes(head[:3], "big"))
                if kind == HEADERS:
                    peer.sendall(frame(HEADERS, 4, stream, STATUS_200))
                    much = flood(turn, stream)
                    while True:
                        peer.sendall(much)
    except OSError:
        pass  # the client has had enough


def main():
    certificate, key, port_file = sys.argv[1:]
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    with open(port_file + ".tmp", "w", encoding="utf-8") as file:
        file.write(str(listener.getsockname()[1]))
    os.rename(port_file + ".tmp", port_file)
    turn = 0
    while True:
        plain, _ = listener.accept()
        threading.Thread(target=serve, args=(plain, context, turn), daemon=True).start()
        turn += 1


main()
