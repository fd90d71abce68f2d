"""
Proof, for each contender, that what is measured is mutual TLS: this Python's
OpenSSL plays the other side of each of its two sidecars and says what it saw.
Returns what both sides agreed on; raises Failed where one is not as strict as
the others.
"""

import os
import socket
import ssl
import threading

from bench_world import APP_PORT, OUT_UID, Failed, spiffe

CIPHER = "TLS_AES_128_GCM_SHA256"
REQUEST = b"GET / HTTP/1.1\r\nHost: cart\r\n\r\n"
ANSWER = (b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024)


def context(world, server, name):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server
                         else ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_REQUIRED
    ctx.load_verify_locations(world.path("root.crt"))
    if name:
        ctx.load_cert_chain(world.path(f"{name}.pem"),
                            world.path(f"{name}.key"))
    ctx.set_alpn_protocols(["http/1.1"] if server else ["mesh/1", "http/1.1"])
    return ctx


def seen(tls):
    uris = [value for kind, value in tls.getpeercert()["subjectAltName"]
            if kind == "URI"]
    return tls.version(), tls.cipher()[0], uris


def read_header(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(8192)
        if not part:
            break
        data += part
    return data


class Inbound(threading.Thread):
    """An inbound sidecar that takes one connection at a time."""

    def __init__(self, world, port, name):
        super().__init__(daemon=True)
        self.ctx = context(world, True, name)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.saw = []                     # of each finished handshake
        self.requests = 0
        self.start()

    def run(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            conn.settimeout(5)
            try:
                with self.ctx.wrap_socket(conn, server_side=True) as tls:
                    self.saw.append(seen(tls))
                    if b"GET / " in tls.recv(4096):
                        self.requests += 1
                        tls.sendall(ANSWER)
                        tls.recv(1)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()


def ask(host, port, ctx=None, uid=None):
    """The answer's status line, and who gave it; None: it was refused."""
    if uid:
        os.seteuid(uid)
    try:
        sock = socket.create_connection((host, port), 5)
    finally:
        os.seteuid(0)
    try:
        with sock:
            who = None
            if ctx:
                sock = ctx.wrap_socket(sock)
                who = seen(sock)
            sock.sendall(REQUEST)
            return read_header(sock).split(b"\r\n", 1)[0].decode(), who
    except OSError:
        return None, None


def outbound(world, contender, name):
    """What an inbound sidecar with the certificate NAME sees."""
    _, port = world.ports(contender.n, "in")
    peer = Inbound(world, port, name)
    child = contender.start(world, "out")
    try:
        status, _ = ask(world.service(contender.n), 80)
    finally:
        world.stop(child)
        peer.close()
    return peer, status


def prove_outbound(world, contender):
    peer, status = outbound(world, contender, "cart")
    expected = ("TLSv1.3", CIPHER, [spiffe("web")])

    if peer.saw != [expected] or "200" not in (status or ""):
        raise Failed(f"outbound: {status}, saw {peer.saw}, "
                     f"expected {expected}")

    for name in "foreign-cart", "mallory":
        peer, status = outbound(world, contender, name)
        if peer.requests or "200" in (status or ""):
            raise Failed(f"outbound: sends requests to {name}")


def prove_inbound(world, contender):
    child = contender.start(world, "in")
    pod = world.pod(contender.n)

    try:
        status, who = ask(pod, APP_PORT, context(world, False, "web"),
                          OUT_UID)
        expected = ("TLSv1.3", CIPHER, [spiffe("cart")])

        if who != expected or "200" not in (status or ""):
            raise Failed(f"inbound: {status}, saw {who}, "
                         f"expected {expected}")

        for name in None, "foreign-web":
            status, _ = ask(pod, APP_PORT, context(world, False, name),
                            OUT_UID)
            if "200" in (status or ""):
                raise Failed(f"inbound: serves a client with certificate "
                             f"{name}")
    finally:
        world.stop(child)


def prove(world, contender):
    prove_outbound(world, contender)
    prove_inbound(world, contender)

    return f"TLSv1.3 {CIPHER}, both certificates verified"
