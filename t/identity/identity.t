#!/usr/bin/python3

# The real meshd identity, asked with curl and by hand, certificates read and
# made with openssl.  Each test has a server and a directory of its own.

import concurrent.futures
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from meshtap import TREE, Tap, until

BUILD = os.environ.get("MESH_BUILD", os.path.join(TREE, "build"))
WEB = "spiffe://cluster.local/ns/shop/sa/web"
SERVER = "spiffe://cluster.local/ns/ngx-mesh/sa/mesh-identity"

TOKENS = '''\
tok-web,system:serviceaccount:shop:web,uid-web-1,"system:authenticated,x"
tok-cart,system:serviceaccount:shop:cart,
"tok,""odd""",system:serviceaccount:shop:odd,uid-odd,"a,b"
tok-admin,admin,1,"system:masters"
'''


def run(*words, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **more)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stdout.decode()}")
    return done.stdout.decode()


class Identity:
    """A server in a directory: ca/, tokens.csv, log."""

    def __init__(self, *options):
        self.dir = tempfile.TemporaryDirectory(prefix="mesh-identity-")
        self.options = list(options)
        self.ca = True
        self.process = None
        self.port = None
        self.port6 = None
        self.write("tokens.csv", TOKENS)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        code = self.stop()
        if code:                          # a sanitizer, or a crash
            raise RuntimeError(f"exit code {code}: {self.log()[-2000:]}")
        self.dir.cleanup()

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def write(self, name, text):
        with open(self.path(name) + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.rename(self.path(name) + ".new", self.path(name))

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def log(self):
        return self.read("log")

    def launch(self):
        words = [os.path.join(BUILD, "meshd"), "identity",
                 "--token-file=" + self.path("tokens.csv"),
                 "--listen=127.0.0.1:0", "--listen=[::1]:0"] + self.options
        if self.ca:
            words.append("--ca-dir=" + self.path("ca"))
        with open(self.path("log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(words, stderr=log)

    def start(self):
        self.write("log", "")
        self.launch()
        ports = until(self.ports)
        if not ports:
            self.stop()
            raise RuntimeError(self.log())
        self.port, self.port6 = ports
        return self

    def ports(self):
        found = re.findall(r"listening on \S+, port (\d+)", self.log())
        return [int(port) for port in found] if len(found) == 2 else None

    def stop(self):
        if self.process:
            self.process.terminate()
            code = self.process.wait(10)
            self.process = None
            return code
        return None

    def refused_start(self):
        """Exit code and log of a server that should not start."""
        self.launch()
        code = self.process.wait(10)
        self.process = None
        return code, self.log()

    def openssl(self, *words, **more):
        return run("openssl", *words, cwd=self.dir.name, **more)

    def key(self, name="web.key"):
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout",
                     "-out", name)
        return name

    def csr(self, san="URI:" + WEB, key=None, subject="/", more=()):
        """A request as PEM."""
        words = ["req", "-new", "-key", key or self.key(), "-subj", subject,
                 "-out", "web.csr"]
        if san:
            words += ["-addext", "subjectAltName=" + san]
        for extension in more:
            words += ["-addext", extension]
        self.openssl(*words)
        return self.read("web.csr")

    def curl(self, path, *words, v6=False, text=None):
        """Status and body."""
        host = f"[::1]:{self.port6}" if v6 else f"127.0.0.1:{self.port}"
        out = run("curl", "-sk", "--max-time", "20", "-w", "\n%{http_code}",
                  *words, f"https://{host}{path}",
                  input=text.encode() if text is not None else None)
        body, _, status = out.rpartition("\n")
        return int(status), body

    def ask(self, csr, token="tok-web", words=(), v6=False, body=None):
        """Status and answer as JSON."""
        words = list(words) + ["-H", "Content-Type: application/json",
                               "--data-binary", "@-"]
        if token:
            words += ["-H", "Authorization: Bearer " + token]
        status, text = self.curl(
            "/v1/certificate", *words, v6=v6,
            text=json.dumps({"csr": csr}) if body is None else body)
        return status, json.loads(text)

    def leaf(self, answer):
        """The text of the first certificate of the chain."""
        return self.openssl("x509", "-noout", "-text", "-ext",
                            "subjectAltName,keyUsage,extendedKeyUsage,"
                            "basicConstraints", input=answer["chain"].encode())

    def verify(self, answer, purpose="sslserver"):
        """Does the chain fit the answer's own bundle?"""
        self.write("chain.pem", answer["chain"])
        self.write("bundle.pem", answer["trust"])
        done = subprocess.run(
            ["openssl", "verify", "-purpose", purpose, "-CAfile",
             "bundle.pem", "-untrusted", "chain.pem", "chain.pem"],
            cwd=self.dir.name, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False)
        return done.returncode == 0

    def connect(self):
        """A TLS connection that looks at nothing."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", self.port), 10)
        return context.wrap_socket(raw)

    def server_certificate(self):
        with self.connect() as sock:
            pem = ssl.DER_cert_to_PEM_cert(sock.getpeercert(True))
        return self.openssl("x509", "-noout", "-text", input=pem.encode())

    def root(self, name, ttl="365"):
        """A CA certificate: name.key, name.crt."""
        self.key(name + ".key")
        self.openssl("req", "-x509", "-new", "-key", name + ".key", "-subj",
                     "/CN=" + name, "-days", ttl, "-out", name + ".crt",
                     "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issuer(self, name, root, days="100", ca="TRUE"):
        self.key(name + ".key")
        self.openssl("req", "-new", "-key", name + ".key", "-subj",
                     "/CN=" + name, "-out", name + ".csr")
        self.write(name + ".cnf", f"basicConstraints=critical,CA:{ca}\n"
                   "keyUsage=critical,keyCertSign\n"
                   "subjectKeyIdentifier=hash\n"
                   "authorityKeyIdentifier=keyid\n")
        self.openssl("x509", "-req", "-in", name + ".csr", "-CA",
                     root + ".crt", "-CAkey", root + ".key", "-days", days,
                     "-CAcreateserial", "-extfile", name + ".cnf", "-out",
                     name + ".crt")

    def install(self, pair=None, roots=None):
        """Replaces issuer and bundle of the directory that is served."""
        if roots:
            self.write("ca/trust.crt", "".join(
                self.read(root + ".crt") for root in roots))
        if pair:
            self.write("ca/issuer.crt", self.read(pair + ".crt"))
            self.write("ca/issuer.key", self.read(pair + ".key"))


def happy(tap):
    """v4 and v6, the certificate as DESIGN has it"""
    with Identity() as server:
        before = time.time()

        for v6 in (False, True):
            name = "v6" if v6 else "v4"
            status, answer = server.ask(server.csr(), v6=v6)
            tap.equal(status, 200, f"{name}: issued")
            tap.ok(server.verify(answer)
                   and server.verify(answer, "sslclient"),
                   f"{name}: chain fits the bundle, both ways")

        text = server.leaf(answer)
        for part in ("URI:" + WEB, "Subject: serialNumber = uid-web-1",
                     "X509v3 Subject Alternative Name: critical",
                     "Digital Signature", "TLS Web Server Authentication, "
                     "TLS Web Client Authentication", "CA:FALSE",
                     "Public-Key: (256 bit)"):
            tap.has(text, part, f"leaf: {part[:40]}")

        tap.equal(answer["chain"].count("BEGIN CERTIFICATE"), 2,
                  "leaf and issuer")
        tap.ok(abs(answer["not_after"] - before - 86400) < 30, "24 h")
        tap.equal(server.curl("/v1/trust"), (200, answer["trust"]),
                  "GET /v1/trust is the bundle")
        tap.equal(server.curl("/ready"), (200, "ready\n"), "/ready")
        tap.equal(server.curl("/live"), (200, "live\n"), "/live")
        tap.has(server.server_certificate(), "URI:" + SERVER,
                "own certificate")

        status, answer = server.ask(server.csr(
            "URI:spiffe://cluster.local/ns/shop/sa/cart"), "tok-cart")
        tap.ok(status == 200
               and "serialNumber =" not in server.leaf(answer),
               "no uid, no serialNumber in the subject")
        status, _ = server.ask(server.csr(
            "URI:spiffe://cluster.local/ns/shop/sa/odd"), 'tok,"odd"')
        tap.equal(status, 200, "a quoted token")

        log = server.log()
        tap.ok(len(re.findall(r"\[notice\] \d+#meshd: issued ", log)) == 4,
               "one line a certificate", log)
        tap.ok("tok-web" not in log, "no token in the log")
        tap.equal(server.stop(), 0, "SIGTERM: exit code 0")
        tap.equal([oct(os.stat(server.path(f"ca/{key}.key")).st_mode & 0o777)
                   for key in ("root", "issuer")], ["0o600", "0o600"],
                  "keys are 0600")


def refusals(tap):
    """each with status, code, and a line of the log"""
    with Identity() as server:
        good = server.csr()
        server.openssl("genrsa", "-out", "rsa.key", "2048")
        server.openssl("ecparam", "-name", "secp384r1", "-genkey", "-noout",
                       "-out", "p384.key")
        server.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout",
                       "-param_enc", "explicit", "-out", "explicit.key")
        other = good.splitlines()
        other[3] = other[3][:10] + ("A" if other[3][10] != "A" else "B") \
            + other[3][11:]
        cart = "URI:spiffe://cluster.local/ns/shop/sa/cart"

        rows = [
            ("no token", dict(csr=good, token=None), 401, "no-token"),
            ("wrong token", dict(csr=good, token="tok-we"), 401,
             "unknown-token"),
            ("empty token", dict(csr=good, token=" "), 401, ""),
            ("a user", dict(csr=good, token="tok-admin"), 403,
             "no-service-account"),
            ("wrong identity", dict(csr=server.csr(cart)), 403,
             "wrong-identity"),
            ("other trust domain", dict(csr=server.csr(
                "URI:spiffe://other.local/ns/shop/sa/web")), 403,
             "wrong-identity"),
            ("longer identity", dict(csr=server.csr("URI:" + WEB + "/x")),
             403, "wrong-identity"),
            ("no JSON", dict(csr="", body="csr"), 400, "bad-request"),
            ("no csr", dict(csr="", body="{}"), 400, "bad-request"),
            ("csr twice", dict(csr="", body='{"csr":"a","csr":"b"}'), 400,
             "bad-request"),
            ("csr is a number", dict(csr="", body='{"csr":1}'), 400,
             "bad-request"),
            ("garbage", dict(csr="-----BEGIN CERTIFICATE REQUEST-----\n"
                             "AAAA\n-----END CERTIFICATE REQUEST-----\n"),
             400, "bad-csr"),
            ("no PEM", dict(csr="hello"), 400, "bad-csr"),
            ("a flipped byte", dict(csr="\n".join(other)), 400, "bad-csr"),
            ("RSA", dict(csr=server.csr(key="rsa.key")), 400, "bad-csr"),
            ("P-384", dict(csr=server.csr(key="p384.key")), 400, "bad-csr"),
            ("a curve spelt out", dict(csr=server.csr(key="explicit.key")),
             400, "bad-csr"),
            ("two URIs", dict(csr=server.csr(f"URI:{WEB},{cart}")), 400,
             "bad-csr"),
            ("URI and DNS", dict(csr=server.csr(f"URI:{WEB},DNS:web")), 400,
             "bad-csr"),
            ("DNS", dict(csr=server.csr("DNS:web")), 400, "bad-csr"),
            ("no SAN", dict(csr=server.csr(None)), 400, "bad-csr"),
            ("no SPIFFE", dict(csr=server.csr("URI:https://web/")), 400,
             "bad-csr"),
            ("CA:TRUE", dict(csr=server.csr(
                more=["basicConstraints=CA:TRUE"])), 400, "bad-csr"),
            ("a usage", dict(csr=server.csr(
                more=["keyUsage=digitalSignature"])), 400, "bad-csr"),
            ("a subject", dict(csr=server.csr(subject="/CN=web")), 400,
             "bad-csr"),
            ("another type", dict(csr=good, words=[
                "-H", "Content-Type: text/plain"]), 400, "bad-request"),
            ("oversized", dict(csr="A" * 20000), 413, "too-large"),
            ("oversized, chunked", dict(csr="A" * 200000, words=[
                "-H", "Transfer-Encoding: chunked"]), 413, "too-large"),
            ("oversized headers", dict(csr=good, words=[
                "-H", "X-Long: " + "a" * 20000]), 431, "headers-too-large"),
        ]

        for what, how, status, code in rows:
            if what == "another type":
                have, answer = server.curl(
                    "/v1/certificate", "-H", "Content-Type: text/plain",
                    "-H", "Authorization: Bearer tok-web", "--data-binary",
                    "@-", text=json.dumps({"csr": good}))
                tap.ok(have == 415 and "bad-content-type" in answer, what)
                continue

            have, answer = server.ask(**how)
            tap.ok(have == status and code in answer.get("error", ""),
                   f"{what}: {status} {code}: {answer.get('message')}",
                   f"{have} {answer}")
            tap.has(server.log(), f"{status} {answer['error']}: ",
                    f"{what}: logged")

        for what, path, words, status in (
                ("no such path", "/v1/x", [], 404),
                ("GET", "/v1/certificate", [], 405),
                ("POST", "/v1/trust", ["-d", "x"], 405)):
            tap.equal(server.curl(path, *words)[0], status, what)

        tap.equal(server.ask(good)[0], 200, "and the good one is issued")
        tap.equal(server.log().count("issued "), 1, "and nothing else was")


def wire(tap):
    """what only a hand can send"""
    with Identity("--request-timeout=2") as server:
        body = json.dumps({"csr": server.csr()}).encode()
        head = (b"POST /v1/certificate HTTP/1.1\r\nHost: x\r\n"
                b"Authorization: Bearer tok-web\r\n"
                b"Content-Type: application/json\r\n")

        status, _ = server.ask(server.csr(), words=[
            "-H", "Transfer-Encoding: chunked"])
        tap.equal(status, 200, "chunked upload")

        with server.connect() as sock:
            wire_body = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 100]),
                                                    body[i:i + 100])
                                 for i in range(0, len(body), 100))
            sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for i in range(0, len(wire_body), 33):
                sock.sendall(wire_body[i:i + 33])
            sock.sendall(b"0\r\nX-Trailer: 1\r\n\r\n")
            tap.has(sock.recv(64), b"HTTP/1.1 200", "chunks in pieces")

        with server.connect() as sock:
            one = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
            sock.sendall(one + one + b"GET /live HTTP/1.1\r\nHost: x\r\n"
                         b"Connection: close\r\n\r\n")
            have = b""
            while part := sock.recv(65536):
                have += part
            tap.ok(have.count(b"HTTP/1.1 200 OK") == 3
                   and have.endswith(b"live\n"), "three pipelined", have)

        for what, text in (
                ("bare LF", b"GET /live HTTP/1.1\nHost: x\n\n"),
                ("no Host", b"GET /live HTTP/1.1\r\n\r\n"),
                ("two lengths", head + b"Content-Length: 1\r\n"
                 b"Content-Length: 2\r\n\r\n12"),
                ("length and chunked", head + b"Content-Length: 1\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\n1"),
                ("bad chunk", head + b"Transfer-Encoding: chunked\r\n\r\nx"),
                ("folded header", b"GET /live HTTP/1.1\r\nHost: x\r\n"
                 b" y\r\n\r\n"),
                ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                ("noise", bytes(range(256)) + b"\n\n")):
            with server.connect() as sock:
                sock.sendall(text)
                tap.has(sock.recv(64), b"HTTP/1.1 400", what)

        with server.connect() as sock, server.connect() as silent:
            start = time.monotonic()
            sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
            tap.equal(server.ask(server.csr())[0], 200,
                      "a slow client does not hold others")
            have = sock.recv(64)
            tap.has(have, b"HTTP/1.1 408", "a slow body: 408")
            tap.ok(1.5 < time.monotonic() - start < 5, "after its 2 s")
            tap.has(server.log(), "408 too-slow", "logged")
            silent.settimeout(0.01)

        raw = socket.create_connection(("127.0.0.1", server.port), 10)
        raw.settimeout(8)
        tap.equal(raw.recv(1), b"", "no handshake: closed")
        raw.close()

        raw = socket.create_connection(("127.0.0.1", server.port), 10)
        raw.settimeout(8)
        raw.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            have = raw.recv(64)
        except ConnectionResetError:
            have = b""
        tap.ok(b"HTTP" not in have, "no plaintext")
        raw.close()


def parallel(tap):
    """100 at a time, and more than there is room for"""
    with Identity("--connections=20") as server:
        idle = [server.connect() for _ in range(25)]
        body = json.dumps({"csr": server.csr()})
        one = (f"POST /v1/certificate HTTP/1.1\r\nHost: x\r\n"
               "Authorization: Bearer tok-web\r\n"
               "Content-Type: application/json\r\n"
               f"Content-Length: {len(body)}\r\n"
               f"Connection: close\r\n\r\n{body}").encode()

        def ask(_):
            with server.connect() as sock:
                sock.sendall(one)
                have = b""
                while part := sock.recv(65536):
                    have += part
            return json.loads(have.partition(b"\r\n\r\n")[2])

        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(ask, range(100)))

        serials = {server.openssl("x509", "-noout", "-serial",
                                  input=answer["chain"].encode())
                   for answer in answers[:20]}
        tap.equal(len(answers), 100, "100 in parallel over 20 connections")
        tap.equal(len(serials), 20, "each has its own serial number")
        tap.equal(server.log().count("issued "), 100, "each is logged once")
        for sock in idle:
            sock.close()


def restart(tap):
    """the root stays; what is lost is not made anew in silence"""
    with Identity() as server:
        trust = server.curl("/v1/trust")
        old = server.ask(server.csr())[1]
        server.stop()
        server.start()
        tap.equal(server.curl("/v1/trust"), trust, "same bundle")
        tap.ok(server.verify(dict(old, trust=trust[1])),
               "what was issued before is good")
        server.stop()

        os.unlink(server.path("ca/root.key"))
        server.start()
        tap.equal(server.ask(server.csr())[0], 200, "without root.key")
        server.stop()

        os.unlink(server.path("ca/issuer.key"))
        code, log = server.refused_start()
        tap.ok(code == 1 and "no issuer.key" in log, "issuer.key is lost")
        os.unlink(server.path("ca/issuer.crt"))
        code, log = server.refused_start()
        tap.ok(code == 1 and "no root.key" in log, "no root.key to go on")
        os.unlink(server.path("ca/root.crt"))
        code, log = server.refused_start()
        tap.ok(code == 1 and "trust.crt but no root.crt" in log,
               "a bundle without its root")
        for name in os.listdir(server.path("ca")):
            os.unlink(server.path("ca/" + name))
        server.start()
        tap.ok(server.curl("/v1/trust") != trust, "an empty directory: new")
        server.stop()

        os.unlink(server.path("ca/trust.crt"))
        server.start()
        tap.equal(server.ask(server.csr())[0], 200, "interrupted first run")


def lives(tap):
    """dates: the leaf's, the issuer's, and the end of both"""
    with Identity("--leaf-ttl=5") as server:
        answer = server.ask(server.csr())[1]
        tap.ok(server.verify(answer), "a leaf of 5 s")
        tap.ok(until(lambda: not server.verify(answer), 12), "has expired")
        tap.ok(server.verify(server.ask(server.csr())[1]),
               "our own was renewed, the next leaf is good")
        text = server.server_certificate()
        tap.ok("URI:" + SERVER in text, "own certificate is served")

    with Identity("--leaf-ttl=31536000") as server:
        answer = server.ask(server.csr())[1]
        server.write("chain.pem", answer["chain"])
        end = [server.openssl("x509", "-noout", "-enddate", "-in", name)
               for name in ("chain.pem", "ca/issuer.crt")]
        tap.equal(end[0], end[1], "never past the issuer")


def rotation(tap):
    """issuer and bundle replaced under a running server"""
    with Identity() as server:
        server.stop()
        for root in ("one", "two"):
            server.root(root)
            server.issuer(root + "-issuer", root)
        server.issuer("no-ca", "two", ca="FALSE")
        server.install("one-issuer", ["one"])
        server.start()

        def served(count):
            pem = server.curl("/v1/trust")[1]
            return pem.count("BEGIN CERT") == count and pem

        def issued_by(name):
            answer = server.ask(server.csr())[1]
            text = server.leaf(answer)
            return f"Issuer: CN = {name}\n" in text and answer

        old = issued_by("one-issuer")
        tap.ok(old and server.verify(old), "first issuer")

        server.install(pair="two-issuer")
        tap.ok(until(lambda: "does not chain" in server.log()),
               "issuer of an unknown root: refused")
        time.sleep(1)
        tap.equal(server.log().count("refused, the old one stays"), 1,
                  "logged once")
        tap.ok(issued_by("one-issuer"), "and the old one stays")

        server.install(pair="one-issuer")
        server.install(roots=["one", "two"])
        tap.ok(until(lambda: served(2)), "a bundle of two roots")
        answer = issued_by("one-issuer")
        tap.ok(answer and answer["trust"].count("BEGIN CERT") == 2
               and server.verify(answer), "answers carry it")

        server.install(pair="two-issuer")
        new = until(lambda: issued_by("two-issuer"))
        tap.ok(new and server.verify(new)
               and server.verify(dict(old, trust=new["trust"])),
               "new issuer; what the old one signed is still good")
        tap.ok(until(lambda: "Issuer: CN = two-issuer"
                     in server.server_certificate()),
               "and our own certificate is from it")

        server.install(roots=["two"])
        tap.ok(until(lambda: served(1)), "the old root is gone")
        tap.ok(server.verify(issued_by("two-issuer")), "and nothing misses it")

        for what, change, reason in (
                ("bundle without our root",
                 lambda: server.install(roots=["one"]), "does not chain"),
                ("empty bundle", lambda: server.write("ca/trust.crt", ""),
                 "no certificate in PEM"),
                ("a leaf in the bundle", lambda: server.install(
                    roots=["two", "no-ca"]), "is no self-signed CA"),
                ("an issuer in the bundle", lambda: server.install(
                    roots=["two", "two-issuer"]), "is no self-signed CA"),
                ("no bundle", lambda: os.unlink(server.path("ca/trust.crt")),
                 "No such file"),
                ("an issuer that is no CA", lambda: server.install(
                    "no-ca", ["two"]), "does not chain"),
                ("another's key", lambda: server.write(
                    "ca/issuer.key", server.read("one.key")),
                 "is not the one of"),
                ("garbage for a key", lambda: server.write(
                    "ca/issuer.key", "x"), "cannot read key")):
            before = len(server.log())
            change()
            tap.ok(until(lambda: reason in server.log()[before:]),
                   f"{what}: {reason}", server.log()[before:])
            tap.ok(issued_by("two-issuer") and served(1),
                   f"{what}: all stays")

        server.install("two-issuer", ["two"])
        before = server.log().count("refused, the old")
        time.sleep(1)
        tap.equal(server.log().count("refused, the old"), before,
                  "good again, in silence")


def files(tap):
    """the CA as three files; tokens followed"""
    with Identity() as server:
        server.stop()
        server.ca = False
        server.root("one")
        server.issuer("sub", "one")
        server.options += ["--issuer-cert=" + server.path("sub.crt"),
                           "--issuer-key=" + server.path("sub.key"),
                           "--trust=" + server.path("one.crt")]
        old = server.read("ca/trust.crt")
        server.start()
        answer = server.ask(server.csr())[1]
        tap.ok(server.verify(answer) and old != answer["trust"],
               "given files")

        csr = server.csr("URI:spiffe://cluster.local/ns/shop/sa/new")
        tap.equal(server.ask(csr, "tok-new")[0], 401, "a token to come")
        server.write("tokens.csv", TOKENS
                     + "tok-new,system:serviceaccount:shop:new,\n")
        tap.ok(until(lambda: server.ask(csr, "tok-new")[0] == 200), "came")
        server.write("tokens.csv", "tok-new,system:serviceaccount:a\n")
        tap.ok(until(lambda: "line 1: 2 columns" in server.log()),
               "a bad file is refused", server.log())
        tap.equal(server.ask(csr, "tok-new")[0], 200, "the old one stays")
        server.write("tokens.csv", TOKENS)
        tap.ok(until(lambda: server.ask(csr, "tok-new")[0] == 401), "went")


def options(tap):
    """what is wrong with a command line is said"""
    for words, reason in (
            ([], "--ca-dir"),
            (["--ca-dir=x", "--trust=y"], "expected either --ca-dir"),
            (["--ca-dir=x", "--leaf-ttl=x"], "expected a number of"),
            (["--ca-dir=x", "--trust-domain=A B"], "trust domain"),
            (["--ca-dir=x", "--nonsense"], 'unknown option "--nonsense"'),
            (["--ca-dir"], "needs a value"),
            (["--ca-dir=x", "--log-level=loud"], "expected one of"),
            (["--ca-dir=x", "word"], 'unexpected word "word"')):
        done = subprocess.run(
            [os.path.join(BUILD, "meshd"), "identity", "--token-file=t",
             *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False)
        tap.ok(done.returncode == 2 and reason in done.stdout,
               f"{' '.join(words)}: {reason}", done.stdout)

    done = run(os.path.join(BUILD, "meshd"), "identity", "--help")
    tap.ok("--token-file=FILE" in done and "(default: 86400)" in done,
           "--help prints the table")
    done = subprocess.run([os.path.join(BUILD, "meshd"), "nobody"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    tap.ok(done.returncode == 2 and 'unknown role "nobody"' in done.stdout,
           "an unknown role")


sys.exit(Tap().run([happy, refusals, wire, parallel, restart, lives, rotation,
                    files, options]))
