#!/usr/bin/python3
"""Steady load from inside a pod, for tests that break something meanwhile.

load.py --http URL | --tcp HOST:PORT [--connections N] [--rate PER_SECOND]
        [--fresh K] [--count N] [--out FILE]

Each connection is a thread with one keep-alive connection; with --fresh K
every K-th request goes over a new one.  HTTP: GET, anything but 200 is a
failure.  TCP: sends a line, expects the same line back (an echo server), or
with --redis a PING and its +PONG.  It stops at SIGTERM, SIGINT or after
--count requests, then writes one JSON object to --out or standard output:

    {"sent": 120, "ok": 120, "failed": 0, "failures": [[unix time, "what"]]}

A request is counted as sent when its first byte was written or its
connection was refused.  Nothing is sent again; an HTTP connection that was
closed while no request was on it is replaced, as every client does.
"""

import argparse
import json
import select
import signal
import socket
import sys
import threading
import time
import urllib.parse


class Stop(Exception):
    pass


class Load:

    def __init__(self, args):
        self.args = args
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.sent = self.ok = 0
        self.failures = []

    def take(self):
        with self.lock:
            if self.args.count and self.sent >= self.args.count:
                raise Stop
            self.sent += 1
            return self.sent

    def done(self, error):
        with self.lock:
            if error is None:
                self.ok += 1
            else:
                self.failures.append([round(time.time(), 3), error])

    def summary(self):
        return {"sent": self.sent, "ok": self.ok,
                "failed": len(self.failures), "failures": self.failures}


class Client:

    def __init__(self, load):
        self.load = load
        self.args = load.args
        self.sock = None
        self.rest = b""

    def connect(self):
        self.sock = socket.create_connection(self.args.address, timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def read_until(self, end):
        while end not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                raise OSError("connection closed")
            self.rest += data
        at = self.rest.index(end) + len(end)
        head, self.rest = self.rest[:at], self.rest[at:]
        return head

    def read_bytes(self, n):
        while len(self.rest) < n:
            data = self.sock.recv(65536)
            if not data:
                raise OSError("connection closed in the body")
            self.rest += data
        body, self.rest = self.rest[:n], self.rest[n:]
        return body

    def http(self, n):
        self.sock.sendall(("GET %s HTTP/1.1\r\nHost: %s\r\nX-Load: %d\r\n\r\n"
                           % (self.args.path, self.args.host, n)).encode())
        head = self.read_until(b"\r\n\r\n").decode("latin-1")
        lines = head.split("\r\n")
        status = lines[0].split(" ", 2)[1]
        fields = {}
        for line in lines[1:]:
            if ":" in line:
                k, v = line.split(":", 1)
                fields[k.strip().lower()] = v.strip()
        if fields.get("transfer-encoding", "") == "chunked":
            while True:
                size = int(self.read_until(b"\r\n").split(b";")[0], 16)
                self.read_bytes(size + 2)
                if size == 0:
                    break
        elif status not in ("204", "304"):
            self.read_bytes(int(fields.get("content-length", "0")))
        if (fields.get("connection", "").lower() == "close"
                or lines[0].startswith("HTTP/1.0")):
            self.close()
        if status != "200":
            return "status %s %s" % (status, fields.get("mesh-error", ""))
        return None

    def tcp(self, n):
        if self.args.redis:
            out, want = b"PING\r\n", b"+PONG\r\n"
        else:
            out = want = b"line %d of the load\n" % n
        self.sock.sendall(out)
        got = self.read_until(b"\n")
        return None if got == want else "answer %r" % got

    def closed_while_idle(self):
        """HTTP: the other side may end an idle connection (RFC 9112, 9.6)."""
        return bool(self.args.http and self.sock is not None
                    and select.select([self.sock], [], [], 0)[0])

    def run(self):
        pause = self.args.connections / self.args.rate
        due = time.monotonic()
        k = 0
        while not self.load.stop.is_set():
            try:
                n = self.load.take()
            except Stop:
                break
            k += 1
            if self.args.fresh and k % self.args.fresh == 0 \
                    or self.closed_while_idle():
                self.close()
            error = None
            try:
                if self.sock is None:
                    self.connect()
                error = self.http(n) if self.args.http else self.tcp(n)
            except (OSError, ValueError, IndexError) as e:
                error = "%s: %s" % (type(e).__name__, e)
            if error is not None:
                self.close()
            self.load.done(error)
            due = max(due + pause, time.monotonic() - 1)
            self.load.stop.wait(max(0, due - time.monotonic()))
        self.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    g = p.add_mutually_exclusive_group(required=True)
    g.add_argument("--http")
    g.add_argument("--tcp")
    p.add_argument("--redis", action="store_true")
    p.add_argument("--connections", type=int, default=4)
    p.add_argument("--rate", type=float, default=100.0)
    p.add_argument("--fresh", type=int, default=0)
    p.add_argument("--count", type=int, default=0)
    p.add_argument("--out")
    args = p.parse_args()

    if args.http:
        u = urllib.parse.urlsplit(args.http)
        args.address = (u.hostname, u.port or 80)
        args.host = u.netloc
        args.path = u.path or "/"
    else:
        host, port = args.tcp.rsplit(":", 1)
        args.address = (host.strip("[]"), int(port))

    load = Load(args)
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, lambda *_: load.stop.set())
    threads = [threading.Thread(target=Client(load).run)
               for _ in range(args.connections)]
    for t in threads:
        t.start()
    for t in threads:
        while t.is_alive():
            t.join(0.2)

    text = json.dumps(load.summary()) + "\n"
    if args.out:
        with open(args.out, "w") as f:
            f.write(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
