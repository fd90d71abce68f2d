#!/usr/bin/python3
"""The animals of the test pods: small servers, and clients that ask them.

    zoo.py http PORT      HTTP/1.1; the answer tells who was asked and what
    zoo.py echo PORT      sends back what it gets
    zoo.py greet PORT     speaks first: a line, then echoes
    zoo.py tls PORT       HTTPS of its own, with a certificate made at start
    zoo.py wait           nothing; to be entered
    zoo.py ask KIND HOST:PORT TEXT     one exchange, printed; exit code 0 or 1

Servers listen on IPv4 and IPv6.  Each connection and each piece that arrives
is one line of the log: a test can prove that no byte has come.
"""

import os
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading

WAIT = 8.0                                # s for one exchange


def log(text):
    print(text, flush=True)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    address_family = socket.AF_INET6
    request_queue_size = 512

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class Animal(socketserver.BaseRequestHandler):
    """One connection; got() is told each piece."""

    def receive(self):
        data = self.request.recv(65536)
        if data:
            log(f"got {len(data)} bytes {data[:60]!r}")
        return data

    def handle(self):
        log(f"accepted {self.client_address[0]}")
        try:
            self.talk()
        except OSError as error:
            log(f"ended {error}")

    def talk(self):
        raise NotImplementedError


class Echo(Animal):
    def talk(self):
        while data := self.receive():
            self.request.sendall(data)


class Greet(Echo):
    def talk(self):
        self.request.sendall(b"220 zoo speaks first\r\n")
        super().talk()


class Http(Animal):
    def talk(self):
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                data = self.receive()
                if not data:
                    return
                rest += data

            head, rest = rest.split(b"\r\n\r\n", 1)
            lines = head.decode("latin-1").split("\r\n")
            fields = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                fields[name.strip().lower()] = value.strip()

            length = int(fields.get("content-length", 0))
            while len(rest) < length:
                data = self.receive()
                if not data:
                    return
                rest += data

            body, rest = rest[:length], rest[length:]
            log(f"request {lines[0]}")
            self.answer(lines[0], fields, body)

            if fields.get("connection", "").lower() == "close":
                return

    def answer(self, line, fields, body):
        text = (f"{socket.gethostname()} {line.rsplit(' ', 1)[0]} "
                f"{fields.get('host', '')} {len(body)}\n").encode()
        self.request.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(text), text))


class Https(Http):
    context = None

    def setup(self):
        self.request = self.context.wrap_socket(self.request,
                                                server_side=True)

    def finish(self):
        self.request.close()


def serve(kind, port):
    if kind is Https:
        Https.context = own_context()

    server = Server(("::", int(port)), kind)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    log(f"serving on {port}")
    server.serve_forever(poll_interval=3600)


def own_context():
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=zoo", "-keyout", "/tmp/key", "-out", "/tmp/cert"],
        check=True, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/tmp/cert", "/tmp/key")
    return context


# clients: each returns what came back

def ask_echo(sock, text):
    sock.sendall(text)
    return receive(sock, len(text))


def ask_greet(sock, text):
    greeting = receive(sock, len(b"220 zoo speaks first\r\n"))
    return greeting + ask_echo(sock, text)


def ask_redis(sock, text):
    sock.sendall(b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(text), text))
    return receive(sock, len(b"$%d\r\n%s\r\n" % (len(text), text)))


def ask_tls(sock, text):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(sock, server_hostname="zoo.example") as tls:
        return ask_http(tls, text)


def ask_http(sock, text):
    sock.sendall(b"GET /%s HTTP/1.1\r\nHost: zoo\r\nConnection: close"
                 b"\r\n\r\n" % text)
    answer = b""
    while data := sock.recv(65536):
        answer += data
    return answer


def receive(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise OSError(f"closed after {data!r}")
        data += piece
    return data


ASK = {"echo": ask_echo, "greet": ask_greet, "redis": ask_redis,
       "tls": ask_tls, "http": ask_http}


def ask(kind, where, text):
    host, port = where.rsplit(":", 1)
    try:
        with socket.create_connection((host.strip("[]"), int(port)),
                                      timeout=WAIT) as sock:
            answer = ASK[kind](sock, text.encode())
    except OSError as error:
        print(f"failed {type(error).__name__}: {error}")
        return 1

    sys.stdout.write(answer.decode("latin-1"))
    return 0 if text in answer.decode("latin-1") else 1


def main(args):
    servers = {"http": Http, "echo": Echo, "greet": Greet, "tls": Https}

    if args[0] == "ask":
        return ask(*args[1:])

    if args[0] == "wait":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        threading.Event().wait()

    serve(servers[args[0]], args[1])
    return 0


sys.exit(main(sys.argv[1:]))
