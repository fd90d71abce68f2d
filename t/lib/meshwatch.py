"""A Redis, a meshd identity and a meshd watch in a directory of their own."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import tempfile

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from meshtap import TREE, until

BUILD = os.environ.get("MESH_BUILD", os.path.join(TREE, "build"))
WRITER = "spiffe://cluster.local/ns/ngx-mesh/sa/mesh-watch"
ACL = """\
user default off
user test on nopass ~* &* +@all
user watch on >secret -@all +@connection +@read +@write +@scripting +@pubsub \
-@dangerous ~mesh:* &mesh:*
"""
TOKENS = "tok-watch,system:serviceaccount:ngx-mesh:mesh-watch,uid-1\n"


class RedisError(Exception):
    pass


class Client:
    """As much of RESP as tests need."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rb")
        self("AUTH", "test", "x")

    def send(self, *words):
        text = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            text.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.socket.sendall(b"".join(text))

    def reply(self):
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis is gone")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if rest == b"-1":
                return None
            return self.stream.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return rest.decode()

    def __call__(self, *words):
        self.send(*words)
        return self.reply()

    def close(self):
        self.stream.close()
        self.socket.close()


class Signer:
    """What an agent makes of mesh:signer, written a second time."""

    def __init__(self, value, trust):
        said = json.loads(value)
        self.epoch = int(said["epoch"])
        self.raw = base64.b64decode(said["key"])
        self.key = ed25519.Ed25519PublicKey.from_public_bytes(self.raw)
        pems = re.findall(r"-----BEGIN.*?END CERTIFICATE-----", said["chain"],
                          re.S)
        certs = [x509.load_pem_x509_certificate(pem.encode()) for pem in pems]
        roots = [x509.load_pem_x509_certificate(pem.encode()) for pem in
                 re.findall(r"-----BEGIN.*?END CERTIFICATE-----", trust, re.S)]
        for cert, above in zip(certs, certs[1:] + roots[:1]):
            above.public_key().verify(cert.signature,
                                      cert.tbs_certificate_bytes,
                                      ec.ECDSA(hashes.SHA256()))
        names = certs[0].extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value
        assert names.get_values_for_type(
            x509.UniformResourceIdentifier) == [WRITER]
        self.leaf = certs[0]
        self.leaf.public_key().verify(
            base64.b64decode(said["signature"]),
            f"ngx-mesh/1 signer\n{said['epoch']}\n{said['key']}".encode(),
            ec.ECDSA(hashes.SHA256()))

    def open(self, key, value):
        """Body (None: a tombstone) and generation, verified."""
        head, body = value.split("\n", 1)
        layout, generation, signature = head.split(" ")
        assert layout == "ngx-mesh/1" and int(generation) >> 40 == self.epoch
        self.key.verify(base64.b64decode(signature),
                        f"ngx-mesh/1\n{key}\n{generation}\n{body}".encode())
        return json.loads(body), int(generation)


class World:
    def __init__(self, source=None):
        self.dir = tempfile.TemporaryDirectory(prefix="mesh-watch-")
        self.processes = {}
        self.options = []
        self.identity_options = []
        self.source = source or self.path("objects")
        os.makedirs(self.source, exist_ok=True)
        self.write("users.acl", ACL)
        self.write("password", "secret\n")
        self.write("tokens.csv", TOKENS)
        self.write("token", "tok-watch\n")
        self.client = None

    def __enter__(self):
        self.start_redis()
        self.start_identity()
        return self

    def __exit__(self, *_):
        codes = {name: self.stop(name) for name in list(self.processes)}
        if self.client:
            self.client.close()
        bad = {name: code for name, code in codes.items() if code}
        logs = "".join(self.log(name)[-3000:] for name in bad)
        self.dir.cleanup()
        if bad:                           # a sanitizer, or a crash
            raise RuntimeError(f"exit codes {bad}: {logs}")

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def write(self, name, text):
        with open(self.path(name) + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(self.path(name) + ".new", self.path(name))

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def log(self, name="watch"):
        return self.read(name + ".log")

    def put(self, name, *objects):
        """A manifest file, replaced as one."""
        text = "---\n".join(obj if isinstance(obj, str) else
                            json.dumps(obj, indent=1) + "\n"
                            for obj in objects)
        path = os.path.join(self.source, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def remove(self, name):
        os.unlink(os.path.join(self.source, name))

    def launch(self, name, *words):
        log = open(self.path(name + ".log"), "a", encoding="utf-8")
        with log:
            self.processes[name] = subprocess.Popen(
                words, stdout=log, stderr=log, cwd=self.dir.name)

    def stop(self, name, number=signal.SIGTERM):
        process = self.processes.pop(name)
        if process.poll() is None:
            process.send_signal(number)
        code = process.wait(10)
        return 0 if number == signal.SIGKILL else code

    def start_redis(self):
        self.launch("redis", "redis-server", "--port", "0", "--unixsocket",
                    self.path("redis.sock"), "--aclfile",
                    self.path("users.acl"), "--save", "", "--appendonly",
                    "no", "--dir", self.dir.name)
        self.client = until(self.connect)
        if not self.client:
            raise RuntimeError(self.log("redis"))

    def connect(self):
        try:
            return Client(self.path("redis.sock"))
        except (OSError, RedisError):
            return None

    def start_identity(self):
        self.launch("identity", os.path.join(BUILD, "meshd"), "identity",
                    "--listen=127.0.0.1:0", "--ca-dir=" + self.path("ca"),
                    "--token-file=" + self.path("tokens.csv"),
                    *self.identity_options)
        found = until(lambda: re.findall(r"listening on \S+, port (\d+)",
                                         self.log("identity")))
        if not found:
            raise RuntimeError(self.log("identity"))
        self.port = int(found[-1])

    def start_watch(self, name="watch", *options, state="state"):
        self.launch(name, os.path.join(BUILD, "meshd"), "watch",
                    "--source=dir:" + self.source,
                    "--redis=unix:" + self.path("redis.sock"),
                    "--redis-user=watch",
                    "--redis-password-file=" + self.path("password"),
                    f"--identity=127.0.0.1:{self.port}",
                    "--token=" + self.path("token"),
                    "--trust=" + self.path("ca/trust.crt"),
                    "--state-dir=" + self.path(state), "--epoch-min=1",
                    *self.options,
                    *options)

    def trust(self):
        return self.read("ca/trust.crt")

    def signer(self):
        """None: there is none that counts."""
        value = self.get("mesh:signer")
        try:
            return value and Signer(value, self.trust())
        except (InvalidSignature, ValueError):
            return None

    def get(self, key):
        """None also for a key of another type."""
        try:
            return self.client("GET", key)
        except RedisError:
            return None

    def synced(self):
        """The epoch that is complete, or None."""
        value = self.get("mesh:synced")
        epoch = self.get("mesh:epoch")
        signer = self.signer()
        if not value or not epoch or not signer:
            return None
        try:
            body, _ = signer.open("mesh:synced", value)
        except (InvalidSignature, AssertionError):
            return None
        return int(epoch) if body == {"epoch": epoch} else None

    def document(self, key):
        """A verified body; None: not there, or gone."""
        body = self.look(key)
        return body if isinstance(body, dict) else self.look(key)

    def look(self, key):
        """Twice by document(): a change may come between two commands."""
        value = self.get(key)
        if not value:
            return None
        try:
            body, generation = self.signer().open(key, value)
        except (InvalidSignature, AssertionError, ValueError,
                AttributeError):
            return "forged"
        try:
            held = self.client("HGET", "mesh:gens", key)
        except RedisError:
            held = None
        if held != str(generation):
            return "generations differ"
        return body

    def documents(self):
        """All of them, verified, without tombstones."""
        keys = [key for key in self.client("KEYS", "mesh:*")
                if re.match(r"mesh:(vip|ip|svc|wl):", key)]
        found = {key: self.document(key) for key in keys}
        return {key: body for key, body in found.items() if body is not None}


def service(name, ip, namespace="shop", app=None, port=80, target=8080,
            port_name="http"):
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "clusterIPs": [ip],
                     "selector": {"app": app or name},
                     "ports": [{"name": port_name, "port": port,
                                "targetPort": target}]}}


def pod(name, ip, namespace="shop", app=None, ready=True, meshed=True,
        account="default"):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace,
                         "labels": {"app": app or name},
                         "annotations": {"ngx-mesh.io/status": "injected"}
                         if meshed else {}},
            "spec": {"serviceAccountName": account, "nodeName": "n1",
                     "containers": [{"name": "app", "ports": [
                         {"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": ip,
                       "podIPs": [{"ip": ip}],
                       "conditions": [{"type": "Ready", "status":
                                       "True" if ready else "False"}]}}
