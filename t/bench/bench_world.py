"""
The machine that the bench runs on: a network namespace with addresses and
redirect rules, certificates, processes, and what the kernel says of them.

Contender N is a service at 10.96.0.N with one pod, 10.244.0.N: HTTP/1 has
port 80 and the pod's 8080, HTTP/2 81 and 8081.  Who
connects to the service is redirected to the outbound sidecar, which runs as
uid 2102; what that one sends to the pod is redirected to the inbound sidecar,
uid 2103; what that one sends there reaches the application.  So all
contenders have the same way through the kernel, redirects included.
"""

import http.client
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

OUT_UID = 2102
IN_UID = 2103
APP_PORT = 8080
H2_PORT = 8081                            # the same application in HTTP/2
CONTENDERS = 32

ROOT = os.environ.get("MESH_ROOT") or os.path.dirname(os.path.dirname(
    os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MESH_BUILD") or os.path.join(ROOT, "build")
HERE = os.path.dirname(os.path.abspath(__file__))

LEAF = """[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
"""


class Failed(Exception):
    """Something that the bench cannot go on without."""


def namespace():
    """Goes on in a network namespace of its own, where all TLS is alike."""
    if os.environ.get("MESH_BENCH_NETNS") != "yes":
        os.environ["MESH_BENCH_NETNS"] = "yes"
        os.environ["OPENSSL_CONF"] = os.path.join(HERE, "conf",
                                                  "openssl.cnf")
        os.execvp("unshare", ["unshare", "--net", sys.executable, "-B",
                              os.path.abspath(sys.argv[0]), *sys.argv[1:]])


def run(*argv, data=None):
    done = subprocess.run(argv, input=data, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: {done.stdout.strip()}")
    return done.stdout


def wait_for(what, condition, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise Failed(f"waited {seconds:.0f} s in vain: {what}")


def spiffe(name):
    return f"spiffe://cluster.local/ns/shop/sa/{name}"


class Process:
    """A child, and the processes that it starts."""

    def __init__(self, popen, log):
        self.popen = popen
        self.log = log
        self.pid = popen.pid

    def pids(self):
        found = [self.pid]
        for pid in found:
            try:
                with open(f"/proc/{pid}/task/{pid}/children",
                          encoding="ascii") as children:
                    found += [int(word) for word in children.read().split()]
            except OSError:
                pass
        return found

    def cpu_ns(self):
        """CPU time of all, from their clocks (see clock_getcpuclockid)."""
        return sum(time.clock_gettime_ns((~pid << 3) | 2)
                   for pid in self.pids())

    def memory(self):
        """KB: of all, and of that what no file backs."""
        whole = own = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as text:
                kb = dict(re.findall(r"^(\w+): +(\d+) kB", text.read(), re.M))
            whole += int(kb["Pss"])
            own += int(kb["Pss_Anon"]) + int(kb["Pss_Shmem"])
        return whole, own

    def alive(self):
        return self.popen.poll() is None

    def stop(self, sig=signal.SIGTERM):
        if self.popen.stdin:
            self.popen.stdin.close()
        if self.alive():
            self.popen.send_signal(sig)
        try:
            self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()[-3000:].strip()


class World:
    """Use it with "with": all processes are ended, the directory goes."""

    def __init__(self, cpu=None):
        self.dir = tempfile.mkdtemp(prefix="mesh-bench.")
        self.children = []
        self.cpu = cpu
        self.app = None
        os.chmod(self.dir, 0o755)

    def __enter__(self):
        try:
            self.setup()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *args):
        for child in reversed(self.children):
            child.stop()
        if not os.environ.get("MESH_TEST_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def setup(self):
        if self.cpu is not None:
            os.sched_setaffinity(0, {self.cpu})

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        want = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(want, soft), hard))

        # the module as it is now, whatever is built meanwhile

        os.makedirs(self.path("logs"))
        self.module = self.path("ngx_mesh_module.so")
        if os.path.exists(os.path.join(BUILD, "ngx_mesh_module.so")):
            shutil.copy(os.path.join(BUILD, "ngx_mesh_module.so"),
                        self.module)

        self.network()
        self.authority("root")
        self.authority("foreign")
        self.certificate("web")
        self.certificate("cart")
        self.certificate("mallory")
        self.certificate("cart", ca="foreign", file="foreign-cart")
        self.certificate("web", ca="foreign", file="foreign-web")

        self.app = self.spawn("app", [self.program("app"),
                                      f"0.0.0.0:{APP_PORT}"])
        self.wait_port("127.0.0.1", APP_PORT, self.app)

        if shutil.which("nghttpd"):
            self.http2_app()

    def http2_app(self):
        """1 KB with trailers, when all of the request is there."""
        os.makedirs(self.path("www"))
        with open(self.path("www", "call"), "w", encoding="ascii") as out:
            out.write("x" * 1024)
        with open(self.path("body"), "w", encoding="ascii") as out:
            out.write("y" * 100)
        child = self.spawn("nghttpd", [
            "nghttpd", "--no-tls", "-n", "1", "-d", self.path("www"),
            "--trailer", "grpc-status: 0", str(H2_PORT)])
        self.wait_port("127.0.0.1", H2_PORT, child)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    @staticmethod
    def program(name):
        return os.path.join(BUILD, "bench", name)

    # network

    def network(self):
        run("ip", "link", "set", "lo", "up")
        run("ip", "addr", "add", "10.244.0.250/32", "dev", "lo")
        run("ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo", "src",
            "10.244.0.250")

        rules = []
        for n in range(1, CONTENDERS):
            out, _ = self.ports(n, "out")
            _, inbound = self.ports(n, "in")
            rules.append(f"ip daddr {self.service(n)} tcp dport 80-81 "
                         f"redirect to :{out}")
            rules.append(f"meta skuid {OUT_UID} ip daddr {self.pod(n)} "
                         f"tcp dport {APP_PORT}-{H2_PORT} "
                         f"redirect to :{inbound}")

        run("nft", "-f", "-", data=(
            "table ip bench {\nchain output {\ntype nat hook output priority "
            "-100; policy accept;\nip daddr 127.0.0.0/8 return\nmeta skuid "
            f"{IN_UID} return;\n" + "\n".join(rules) + "\n}\n}\n"))

    @staticmethod
    def service(n):
        return f"10.96.0.{n}"

    @staticmethod
    def pod(n):
        return f"10.244.0.{n}"

    @staticmethod
    def ports(n, side):
        """Outbound and inbound port of one sidecar; the next is free."""
        first = 14000 + 10 * n + (0 if side == "out" else 4)
        return first, first + 1

    # certificates

    def authority(self, name):
        config = self.path("leaf.cnf")
        with open(config, "w", encoding="ascii") as out:
            out.write(LEAF)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
            f"/O={name}", "-config", config, "-extensions", "ca", "-keyout",
            self.path(f"{name}.key"), "-out", self.path(f"{name}.crt"))

    def certificate(self, name, ca="root", file=None):
        """FILE.pem, FILE.key and both in FILE.both."""
        file = file or name
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj",
            f"/CN={name}", "-config", self.path("leaf.cnf"), "-extensions",
            "leaf", "-addext", f"subjectAltName=URI:{spiffe(name)}",
            "-CA", self.path(f"{ca}.crt"), "-CAkey", self.path(f"{ca}.key"),
            "-keyout", self.path(f"{file}.key"),
            "-out", self.path(f"{file}.pem"))
        os.chmod(self.path(f"{file}.key"), 0o644)
        with open(self.path(f"{file}.both"), "w", encoding="ascii") as out:
            for end in "pem", "key":
                with open(self.path(f"{file}.{end}"),
                          encoding="ascii") as text:
                    out.write(text.read())

    # processes

    def spawn(self, name, argv, uid=None, env=None, pipe=False):
        log = self.path("logs", name)
        if uid is not None:
            argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}",
                    "--clear-groups", *argv]
        with open(log, "ab") as out:
            popen = subprocess.Popen(
                argv, env={**os.environ, **(env or {})}, text=True,
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else out, stderr=out)
        child = Process(popen, log)
        self.children.append(child)
        return child

    def stop(self, child):
        child.stop()
        self.children.remove(child)

    @staticmethod
    def wait_port(host, port, child, seconds=20.0):
        def answers():
            if not child.alive():
                raise Failed(f"it ended: {child.said()}")
            try:
                socket.create_connection((host, port), 1).close()
                return True
            except OSError:
                return False
        wait_for(f"port {port}", answers, seconds)

    # the application

    def held(self):
        conn = http.client.HTTPConnection("127.0.0.1", APP_PORT, timeout=5)
        conn.request("GET", "/held")
        count = int(conn.getresponse().read())
        conn.close()
        return count

    def release(self):
        self.app.popen.send_signal(signal.SIGUSR1)
