#!/usr/bin/python3
"""A peer that speaks mesh TLS by itself, with the certificate that it is given.

    peer.py call KIND HOST:PORT    one connection; a word of standard input is
                                   one request on it, or "-" to end
    peer.py serve KIND PORT        answers connections, one after the other

KIND is http or tcp (an echo).  The first line of standard input is a
JSON object: {"cert": PEM, "key": PEM}, or {} for none.  Every event is one
JSON object on standard output:

    {"event": "connected", "local": [ADDRESS, PORT], "peer": [ADDRESS, PORT]}
    {"event": "answer", "text": ..}       to one request, of the mesh or app
    {"event": "request", "text": ..}      bytes of an application came (serve)
    {"event": "closed", "why": ..}        the alert's name if there was one

Nothing is verified: that is what the other side is tested for.
"""

import json
import os
import socket
import ssl
import sys
import tempfile

WAIT = 10.0                               # s for one step

ALPN = {"http": ["mesh/1", "http/1.1"], "tcp": ["mesh/1", "mesh-tcp"]}


def tell(event, **more):
    print(json.dumps(dict(event=event, **more)), flush=True)


def context(given, kind, server):
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server
                           else ssl.PROTOCOL_TLS_CLIENT)
    found.minimum_version = ssl.TLSVersion.TLSv1_3
    found.check_hostname = False
    found.verify_mode = ssl.CERT_NONE

    if server:
        found.set_alpn_protocols(["mesh/1"])
    else:
        found.set_alpn_protocols(ALPN[kind])

    if "cert" in given:
        paths = []
        for name in ("cert", "key"):
            fd, path = tempfile.mkstemp()
            os.write(fd, given[name].encode())
            os.close(fd)
            paths.append(path)
        found.load_cert_chain(*paths)
        for path in paths:
            os.unlink(path)

    if server and "cert" not in given:
        found.set_ciphers("ALL:@SECLEVEL=0")
    return found


def why(error):
    text = str(error)
    return getattr(error, "reason", None) or text or type(error).__name__


# calling

def call(kind, where, given):
    host, port = where.rsplit(":", 1)

    try:
        plain = socket.create_connection((host.strip("[]"), int(port)),
                                         timeout=WAIT)
        tell("connected", local=plain.getsockname()[:2],
             peer=plain.getpeername()[:2])
        sock = context(given, kind, False).wrap_socket(plain)
    except OSError as error:
        tell("closed", why=why(error))
        return

    for line in sys.stdin:
        word = line.strip()
        if word == "-":
            break
        if not request(sock, kind, word):
            return

    sock.close()
    tell("closed", why="by us")


def request(sock, kind, word):
    try:
        if kind == "http":
            sock.sendall(f"GET /{word} HTTP/1.1\r\nHost: peer\r\n\r\n"
                         .encode())
            text = read_http(sock)
        else:
            sock.sendall(f"{word}\n".encode())
            text = read_until(sock, b"\n")
    except OSError as error:
        tell("closed", why=why(error))
        return False

    tell("answer", text=text)
    return True


def read_until(sock, end):
    data = b""
    while end not in data:
        piece = sock.recv(65536)
        if not piece:
            raise OSError(f"end of file after {data!r}")
        data += piece
    return data.decode("latin-1")


def read_some(sock):
    data = sock.recv(65536)
    if not data:
        raise OSError("end of file")
    return data.decode("latin-1")


def read_http(sock):
    text = read_until(sock, b"\r\n\r\n")
    head, body = text.split("\r\n\r\n", 1)
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            while len(body) < int(value):
                piece = sock.recv(65536)
                if not piece:
                    raise OSError("end of file in the body")
                body += piece.decode("latin-1")
    return head + "\r\n\r\n" + body


# serving

def serve(kind, port, given):
    ours = context(given, kind, True)
    listening = socket.create_server(("::", int(port)),
                                     family=socket.AF_INET6,
                                     dualstack_ipv6=True, backlog=64)
    tell("listening")

    while True:
        plain, peer = listening.accept()
        plain.settimeout(WAIT)
        tell("connected", local=plain.getsockname()[:2], peer=peer[:2])
        answer(plain, kind, ours)


def answer(plain, kind, ours):
    end = b"\r\n\r\n" if kind == "http" else None
    try:
        sock = ours.wrap_socket(plain, server_side=True)
        while True:
            text = read_until(sock, end) if end else read_some(sock)
            tell("request", text=text)
            if kind == "http":
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
                             b"impostor\n")
            else:
                sock.sendall(text.encode("latin-1"))
    except OSError as error:
        tell("closed", why=why(error))
    finally:
        plain.close()


def main(args):
    given = json.loads(sys.stdin.readline())
    if args[0] == "call":
        call(args[1], args[2], given)
    else:
        serve(args[1], args[2], given)


main(sys.argv[1:])
