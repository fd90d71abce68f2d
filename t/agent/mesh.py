"""The rest of a mesh for a sidecar: identity, Redis, watch, a network."""

import base64
import os
import shutil
import subprocess
import sys
import tempfile

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from meshpki import Authority
from meshtap import TREE, until
from sidecar import BUILD, UID

SYSTEM = "spiffe://cluster.local/ns/ngx-mesh/sa/"

TOKENS = """\
tok-web,system:serviceaccount:shop:web,uid-web-1
tok-watch,system:serviceaccount:ngx-mesh:mesh-watch,uid-watch
"""

# what DESIGN gives the agent, and nothing else

ACL = """\
user default off
user watch on >watch ~* &* +@all
user agent on >agent resetkeys ~mesh:* resetchannels &mesh:* -@all +auth \
+ping +get +mget +hmget +subscribe +unsubscribe
"""

# the template with a plain way to Redis: its own sidecar is another test's

REDIS_TLS = "mesh_tls    mtls ${redis_identity} ${redis_endpoint};"


def network():
    """The pod's addresses and redirect, as an init container makes them."""
    for words in ("ip link add xf0 type veth peer name xf1",
                  "ip link set xf0 up", "ip link set xf1 up",
                  "ip addr add 10.244.0.6/24 dev xf0",
                  "ip -6 addr add fd00:244::6/64 dev xf0 nodad",
                  "ip route add default dev xf0",
                  "ip -6 route add default dev xf0",
                  f"nft -f {TREE}/conf/redirect.nft"):
        subprocess.run(words.split(), check=True)


def template(redis=None):
    with open(os.path.join(TREE, "conf", "nginx.conf.tmpl"),
              encoding="utf-8") as stream:
        text = stream.read()
    if redis:
        text = (text.replace(REDIS_TLS, "")
                .replace("proxy_ssl   on;\n        proxy_pass  mesh;",
                         f"proxy_pass {redis};"))
        assert REDIS_TLS not in text and redis in text
    return text


def dump(sidecar):
    done = subprocess.run([os.path.join(BUILD, "meshctl"), "state", "dump",
                           os.path.join(sidecar.run, "state")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    return done.stdout.decode()


class Program:
    """Something that is started, killed, and started again."""

    def __init__(self, log, *words):
        self.words = words
        self.path = log
        self.process = None

    def start(self):
        with open(self.path, "ab") as out:
            self.process = subprocess.Popen(
                self.words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        return self

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log(self):
        with open(self.path, encoding="utf-8", errors="replace") as stream:
            return stream.read()


class Mesh:
    """identity, redis and watch on 127.0.0.1, objects/ for watch."""

    def __init__(self, *identity):
        self.top = tempfile.mkdtemp(prefix="mesh-rest-", dir="/tmp")
        os.chmod(self.top, 0o755)
        for name in ("objects", "ca", "epoch"):
            os.mkdir(self.path(name))
        self.write("tokens.csv", TOKENS)
        self.write("users.acl", ACL)
        self.write("watch.token", "tok-watch\n")
        self.write("watch.password", "watch\n")

        meshd = os.path.join(BUILD, "meshd")
        self.identity = Program(
            self.path("identity.log"), meshd, "identity",
            "--ca-dir=" + self.path("ca"), "--listen=127.0.0.1:8443",
            "--token-file=" + self.path("tokens.csv"), *identity)
        self.redis = Program(
            self.path("redis.log"), "/usr/bin/redis-server", "--bind",
            "127.0.0.1", "--port", "6379", "--save", "", "--appendonly", "no",
            "--aclfile", self.path("users.acl"), "--dir", self.top)
        self.watch = Program(
            self.path("watch.log"), meshd, "watch",
            "--source=dir:" + self.path("objects"), "--redis=127.0.0.1:6379",
            "--redis-user=watch",
            "--redis-password-file=" + self.path("watch.password"),
            "--identity=127.0.0.1:8443",
            "--token=" + self.path("watch.token"),
            "--trust=" + self.path("ca/trust.crt"),
            "--state-dir=" + self.path("epoch"), "--epoch-min=1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in (self.watch, self.redis, self.identity):
            program.kill()
        shutil.rmtree(self.top, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.top, name)

    def write(self, name, text):
        path = self.path(name)
        with open(path + ".new", "w", encoding="utf-8") as stream:
            stream.write(text)
        os.rename(path + ".new", path)

    def objects(self, name, text):
        self.write(f"objects/{name}.yaml", text)

    def gone(self, name):
        os.unlink(self.path(f"objects/{name}.yaml"))

    def start(self):
        self.identity.start()
        if not until(lambda: os.path.exists(self.path("ca/trust.crt"))):
            raise RuntimeError(self.identity.log())
        self.redis.start()
        self.watch.start()
        if not until(lambda: self.get("mesh:synced")):
            raise RuntimeError(self.watch.log())
        return self

    def trust(self):
        with open(self.path("ca/trust.crt"), encoding="ascii") as stream:
            return stream.read()

    def cli(self, *words, data=None):
        """redis-cli as the writer; with data that is the last argument."""
        done = subprocess.run(
            ["redis-cli", "--no-auth-warning", "--user", "watch", "--pass",
             "watch", "--raw"] + (["-x"] if data is not None else [])
            + list(words), input=data, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False)
        return done.stdout

    def get(self, key):
        out = self.cli("GET", key).rstrip(b"\n")
        return b"" if out.startswith(b"Could not") else out

    def put(self, key, value, generation=None):
        """As somebody who has got into Redis would."""
        self.cli("SET", key, data=value)
        if generation is not None:
            self.cli("HSET", "mesh:gens", key, str(generation))
            self.cli("PUBLISH", "mesh:ch:" + key, str(generation))

    def generation(self, key):
        value = self.get(key)
        return int(value.split()[1]) if value else 0

    def want(self, sidecar, address, word="want"):
        """What a worker would send."""
        import socket
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(f"{word} {address}".encode(),
                     os.path.join(sidecar.run, "agent.sock"))


class Writer:
    """Signs documents: as the genuine writer could, or as somebody else."""

    def __init__(self, authority, epoch, uri=SYSTEM + "mesh-watch", **times):
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.epoch = epoch
        self.leaf = authority.leaf(uri, **times)

    def signer(self):
        public = base64.b64encode(self.key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw))
        text = (b"ngx-mesh/1 signer\n%d\n%s" % (self.epoch, public))
        key = serialization.load_pem_private_key(self.leaf["key"].encode(),
                                                 None)
        signature = key.sign(text, ec.ECDSA(hashes.SHA256()))
        import json
        return json.dumps({
            "layout": 1, "epoch": str(self.epoch), "key": public.decode(),
            "chain": self.leaf["cert"],
            "signature": base64.b64encode(signature).decode()}).encode()

    def seal(self, key, counter, body, name=None):
        generation = (self.epoch << 40) + counter
        signed = b"ngx-mesh/1\n%s\n%d\n%s" % ((name or key).encode(),
                                              generation, body)
        return b"ngx-mesh/1 %d %s\n%s" % (
            generation, base64.b64encode(self.key.sign(signed)), body)


# objects

def service(name, ip, port=80, target=8080, namespace="shop", more=""):
    return f"""\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  clusterIP: {ip}
  clusterIPs: [{ip}]
  selector: {{app: {name}}}
  ports: [{{name: http, port: {port}, targetPort: {target}}}]
{more}"""


def pod(name, app, ip, account="cart", namespace="shop", ready=True,
        meshed=True, port=8080):
    note = "{ngx-mesh.io/status: injected}" if meshed else "{}"
    return f"""\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app: {app}}}
  annotations: {note}
spec:
  serviceAccountName: {account}
  nodeName: node-1
  containers:
  - name: app
    ports: [{{name: http, containerPort: {port}}}]
status:
  phase: Running
  podIP: {ip}
  podIPs: [{{ip: {ip}}}]
  conditions: [{{type: Ready, status: "{ready}"}}]
"""
