"""The zoo as a cluster: its pods by name, what they say, what the wire says."""

import json
import os
import re
import signal
import subprocess
import time

import meshtap                            # it sets the path of the next one

from mesh_demo import metrics
from mesh_local import client

ZOO = os.path.join(meshtap.TREE, "t", "local", "zoo")
KEYLOG = "/run/mesh/keylog"               # in each sidecar
LIBRARY = "/usr/local/lib/mesh-keylog.so"


class Zoo(meshtap.Cluster):
    """A cluster with the pods of t/local/zoo."""

    def __init__(self):
        super().__init__()
        self.work = os.environ.get("MESH_TEST_DIR") or self.root + ".work"
        os.makedirs(self.work, exist_ok=True)
        self.names = {}
        self.running = []

    def __exit__(self, *why):
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
        super().__exit__(*why)

    def start(self, t, *words, more=()):
        """Up and ready, or the test ends here."""
        code, text = self.up(*words, ZOO, *more)
        if code != 0:
            t.ok(False, "the cluster starts", text)
            raise SystemExit(t.done())
        t.ok(True, "the cluster starts")
        self.look()

    def look(self):
        """Learns the pods' names and addresses."""
        self.names = {}
        for pod in self.status()["pods"]:
            app = re.sub(r"-\w{10}-\w{5}$|-\d+$", "", pod["name"])
            self.names.setdefault(f"{pod['namespace']}/{app}",
                                  []).append(pod)

    def pod(self, app, index=0):
        """NS/APP -> NS/POD"""
        found = self.names[app][index]
        return f"{found['namespace']}/{found['name']}"

    def address(self, app, family=4, index=0):
        for ip in self.names[app][index]["ips"]:
            if (":" in ip) == (family == 6):
                return ip
        raise KeyError(f"{app} has no IPv{family}")

    def vip(self, service, family=4):
        for one in self.status()["services"]:
            if f"{one['namespace']}/{one['name']}" == service:
                for ip in one["ips"]:
                    if (":" in ip) == (family == 6):
                        return ip
        raise KeyError(f"{service} has no IPv{family}")

    # asking

    def ask(self, app, kind, where, text):
        """One exchange from a pod: (worked, what came back)"""
        code, out = self.exec(self.pod(app), "/usr/bin/python3", "-B",
                              "/zoo/zoo.py", "ask", kind, where, text)
        return code == 0, out

    def app_log(self, app, index=0, container="app"):
        namespace, name = self.pod(app, index).split("/")
        path = client.Cluster(self.root).layout.container_log(
            namespace, name, container)
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()

    def sidecar_log(self, app, index=0):
        return self.app_log(app, index, "ngx-mesh")

    def metrics(self, app, index=0):
        """What the sidecar counts; asked from the node, as Prometheus does"""
        out = self.node("/usr/bin/curl", "-sS", "--max-time", "5",
                        f"http://{self.address(app, 4, index)}:4191/metrics")
        return metrics.parse(out)

    # processes

    def node(self, *argv):
        done = subprocess.run(
            client.Cluster(self.root).node_argv(list(argv)), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
            timeout=60)
        if done.returncode != 0:
            raise OSError(f"{argv[0]}: {done.stderr}")
        return done.stdout

    def spawn(self, app, *argv, container=None, **options):
        """argv in a container, beside its own processes: a Popen"""
        namespace, name = self.pod(app).split("/")
        argv = client.Cluster(self.root).container_argv(
            namespace, name, container, list(argv))
        process = subprocess.Popen(argv, **options)
        self.running.append(process)
        return process

    def pids(self, app, what, index=0, container="ngx-mesh"):
        """Processes of a container by command line, as this machine's pids"""
        for pod in self.status()["pods"]:
            if f"{pod['namespace']}/{pod['name']}" == self.pod(app, index):
                top = [c["pid"] for c in pod["containers"]
                       if c["name"] == container][0]
        return [pid for pid in descendants(top) if what in cmdline(pid)]

    # load

    def load(self, app, *words):
        return Load(self, app, words)

    def capture(self, name):
        return Capture(self, name)


class Load:
    """t/lib/load.py in a pod, from now until stop()"""

    def __init__(self, zoo, app, words):
        self.out = os.path.join(zoo.work, f"load-{len(zoo.running)}.json")
        with open(self.out, "wb") as out:
            self.process = zoo.spawn(
                app, "/usr/bin/python3", "-B", "/lib-of-tests/load.py",
                *words, stdout=out)

    def stop(self):
        """{"sent": .., "ok": .., "failed": .., "failures": [[time, what]]}"""
        for pid in descendants(self.process.pid):
            if cmdline(pid).startswith("/usr/bin/python3"):
                os.kill(pid, signal.SIGTERM)
        self.process.wait(timeout=30)
        with open(self.out, encoding="utf-8") as stream:
            return json.load(stream)


class Capture:
    """dumpcap on the bridge, from now until stop()"""

    def __init__(self, zoo, name):
        self.path = os.path.join(zoo.work, name + ".pcapng")
        self.keys = os.path.join(zoo.work, name + ".keys")
        self.zoo = zoo
        if os.path.exists(self.path):
            os.unlink(self.path)
        with open(os.path.join(zoo.work, name + ".dumpcap"), "wb") as out:
            self.process = subprocess.Popen(
                client.Cluster(zoo.root).node_argv(
                    ["/usr/bin/dumpcap", "-q", "-i", "cni0", "-f", "tcp",
                     "-s", "65535", "-B", "16", "-w", self.path]),
                stdout=out, stderr=out)
        zoo.running.append(self.process)
        if not meshtap.until(lambda: os.path.exists(self.path)
                             and os.path.getsize(self.path) > 0):
            raise OSError("dumpcap does not start")

    def stop(self):
        """Ends once the wire has been silent; fetches the sidecars' keys."""
        time.sleep(0.5)                   # dumpcap reads in blocks
        for pid in descendants(self.process.pid):
            if cmdline(pid).startswith("/usr/bin/dumpcap"):
                os.kill(pid, signal.SIGINT)
        self.process.wait(timeout=20)

        with open(self.keys, "w", encoding="ascii") as stream:
            for app, pods in self.zoo.names.items():
                for index, pod in enumerate(pods):
                    if pod["meshed"]:
                        code, text = self.zoo.exec(
                            self.zoo.pod(app, index), "/bin/cat", KEYLOG,
                            container="ngx-mesh")
                        if code == 0:
                            stream.write(text)

    def tshark(self, *words):
        """Lines of tab-separated fields."""
        done = subprocess.run(
            ["/usr/bin/tshark", "-r", self.path, "-n", "-d",
             "tcp.port==1-65535,tls", "-o", f"tls.keylog_file:{self.keys}",
             *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise OSError(f"tshark: {done.stderr}")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def fields(self, condition, *names):
        words = ["-Y", condition, "-T", "fields", "-E", "separator=/t"]
        for name in names:
            words += ["-e", name]
        return self.tshark(*words)

    def streams(self):
        """{number: Stream}: both directions of each TCP connection"""
        found = {}
        for number, source, source6, sport, dest, dest6, dport, syn, seq, \
                data in self.fields(
                    "tcp", "tcp.stream", "ip.src", "ipv6.src", "tcp.srcport",
                    "ip.dst", "ipv6.dst", "tcp.dstport", "tcp.flags.syn",
                    "tcp.seq_raw", "tcp.payload"):
            one = found.setdefault(int(number), Stream())
            one.add((source or source6, int(sport)),
                    (dest or dest6, int(dport)),
                    syn in ("1", "True"), int(seq),
                    bytes.fromhex(data.replace(":", "")))
        return found


class Stream:
    """A TCP connection as the wire saw it."""

    def __init__(self):
        self.client = self.server = None
        self.whole = False                # its first packet is there
        self.pieces = {}

    def add(self, source, dest, syn, seq, data):
        if self.client is None:
            self.client, self.server, self.whole = source, dest, syn
        if data:
            self.pieces.setdefault(source, {}).setdefault(seq, b"")
            if len(data) > len(self.pieces[source][seq]):
                self.pieces[source][seq] = data

    def sent(self, source):
        """Its bytes in order, retransmissions once"""
        out = b""
        start = None
        for seq, data in sorted(self.pieces.get(source, {}).items()):
            if start is None:
                start = seq
            have = seq - start
            if have > len(out):
                raise ValueError(f"a piece of the capture is missing: "
                                 f"{source} at {len(out)}")
            out = out[:have] + data if have + len(data) > len(out) else out
        return out

    def both(self):
        return self.sent(self.client), self.sent(self.server)


def tls_records(data):
    """
    (type, version, length) of the TLS records that data consists of, to its
    last byte; None if it is anything else.
    """
    found = []
    at = 0
    while at < len(data):
        if len(data) - at < 5:
            return None
        kind, version = data[at], int.from_bytes(data[at + 1:at + 3], "big")
        length = int.from_bytes(data[at + 3:at + 5], "big")
        if kind not in (20, 21, 22, 23) or version not in (0x0301, 0x0303) \
                or length > 16384 + 256 or at + 5 + length > len(data):
            return None
        found.append((kind, version, length))
        at += 5 + length
    return found


def keylog_options(work):
    """Words for up(): every sidecar writes its TLS secrets to KEYLOG"""
    path = os.path.join(work, "keylog.so")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", path,
         os.path.join(meshtap.TREE, "t", "lib", "keylog.c"), "-ldl"],
        check=True)
    return ["--image-file", f"{path}:{LIBRARY}",
            "--sidecar-env", f"LD_PRELOAD={LIBRARY}",
            "--sidecar-env", f"MESH_KEYLOG={KEYLOG}"]


def descendants(pid):
    """pid and all processes below it"""
    found = [pid]
    for one in found:
        try:
            with open(f"/proc/{one}/task/{one}/children",
                      encoding="ascii") as stream:
                found += [int(word) for word in stream.read().split()]
        except OSError:
            pass                          # it has ended
    return found


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read().replace(b"\0", b" ").decode("latin-1")
    except OSError:
        return ""                         # it has ended


def identity_with(*options):
    """conf/local's CA with more options, as a file of manifests to apply"""
    path = os.path.join(meshtap.TREE, "conf", "local", "10-identity.yaml")
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    mark = "        - --trust-domain=cluster.local\n"
    return text.replace(mark, mark + "".join(f"        - {option}\n"
                                             for option in options))
