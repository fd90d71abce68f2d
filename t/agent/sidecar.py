"""A sidecar by hand: mesh-agent init as uid 2102 in this network namespace.

A test program calls isolate() first: it starts itself again in a network
namespace of its own, where 4140, 4143 and 4191 are free.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "lib"))

from meshtap import TREE, until

BUILD = os.environ.get("MESH_BUILD", os.path.join(TREE, "build"))
UID = 2102
NGINX = "/usr/sbin/nginx"
AS_UID = ["setpriv", "--reuid", str(UID), "--regid", str(UID),
          "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]

# nginx without the mesh, on the sockets that init hands over

PLAIN = """\
daemon off;
worker_processes ${workers};
pid ${pid_file};
error_log stderr notice;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path ${temp_path};
    proxy_temp_path ${temp_path};
    fastcgi_temp_path ${temp_path};
    uwsgi_temp_path ${temp_path};
    scgi_temp_path ${temp_path};
    server {
        listen 127.0.0.1:4140; listen [::1]:4140;
        listen 0.0.0.0:4143; listen [::]:4143;
        listen 0.0.0.0:4191; listen [::]:4191;
#if redis_socket
        listen ${redis_socket};
#end
        location / { return 200 "$pid"; }
    }
}
"""


def isolate():
    """In a network namespace of our own, with lo up."""
    if os.environ.get("MESH_TEST_ISOLATED") != "yes":
        os.environ["MESH_TEST_ISOLATED"] = "yes"
        os.execvp("unshare", ["unshare", "--net", "sh", "-c",
                              'ip link set lo up && exec "$@"', "sh",
                              sys.executable, *sys.argv])


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii",
                  errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def title(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def state(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii",
                  errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def children(pid):
    return [int(name) for name in os.listdir("/proc")
            if name.isdigit() and parent(name) == pid]


def get(port, path="/", host="127.0.0.1", timeout=10):
    """The body of a GET, or why there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as s:
            s.settimeout(timeout)
            s.connect((host, port))
            s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            data = b""
            while True:
                more = s.recv(65536)
                if not more:
                    break
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            return int(head.split()[1]), body.decode()
    except (OSError, IndexError) as error:
        return 0, str(error)


class Sidecar:
    """Its directory (own/), what it is given (given/), its log."""

    def __init__(self, *options, template=PLAIN, redis="10.96.0.5:6379",
                 namespace="shop", pod="web-1", account="web"):
        self.top = tempfile.mkdtemp(prefix="mesh-agent-", dir="/tmp")
        os.chmod(self.top, 0o755)
        self.run = os.path.join(self.top, "run")
        self.given = os.path.join(self.top, "given")
        for path in (self.run, self.given):
            os.mkdir(path)
            os.chmod(path, 0o755)
        os.chown(self.run, UID, UID)
        os.chmod(self.run, 0o700)

        # uid 2102 may not be able to enter the tree

        self.program = shutil.copy(os.path.join(BUILD, "mesh-agent"),
                                   self.given)
        self.module = os.path.join(BUILD, "ngx_mesh_module.so")
        if os.path.exists(self.module):
            self.module = shutil.copy(self.module, self.given)
        shutil.copy(os.path.join(TREE, "conf", "transparent.conf"),
                    self.given)
        if template is None:
            shutil.copy(os.path.join(TREE, "conf", "nginx.conf.tmpl"),
                        self.given)
        else:
            self.give("nginx.conf.tmpl", template)

        self.give("token", "tok-web\n")
        self.options = {
            "namespace": namespace, "pod": pod, "service-account": account,
            "identity": "127.0.0.1:8443", "redis": redis,
            "trust": self.path("trust.pem"), "token": self.path("token"),
            "run-dir": self.run, "conf-dir": self.given,
            "mesh-module": self.module, "drain": "0",
        }
        for option in options:
            name, _, value = option[2:].partition("=")
            self.options[name] = value
        self.process = None
        self.out = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.top, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.given, name)

    def give(self, name, text, mode=0o644):
        """A file that is replaced as one."""
        path = self.path(name)
        with open(path + ".new", "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
        os.rename(path + ".new", path)
        return path

    def own(self, name, data):
        """A file of the sidecar's own."""
        path = os.path.join(self.run, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(data if isinstance(data, bytes) else data.encode())
        there = os.path.dirname(path)
        while there.startswith(self.run):
            os.chown(there, UID, UID)
            there = os.path.dirname(there)
        os.chown(path, UID, UID)
        return path

    def read(self, name):
        try:
            with open(os.path.join(self.run, name), "rb") as stream:
                return stream.read()
        except OSError:
            return b""

    def pair(self, authority, trust, uri=None, epoch=1, **times):
        """An identity as an agent before us would have left it."""
        uri = uri or (f"spiffe://cluster.local/ns/{self.options['namespace']}"
                      f"/sa/{self.options['service-account']}")
        leaf = authority.leaf(uri, **times)
        for name, text in (("cert.pem", leaf["cert"]),
                           ("key.pem", leaf["key"]), ("trust.pem", trust)):
            self.own(f"identity/{epoch}/{name}", text)
        link = os.path.join(self.run, "identity", "current")
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(str(epoch), link)

    def start(self):
        words = [f"--{name}={value}" for name, value in self.options.items()
                 if value is not None]
        self.out = open(os.path.join(self.top, "log"), "ab")
        self.process = subprocess.Popen(
            [*AS_UID, self.program, "init", *words], stdin=subprocess.DEVNULL,
            stdout=self.out, stderr=self.out)
        return self

    def stop(self, seconds=20):
        """SIGTERM; the exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = "killed"
        self.process = None
        self.out.close()
        for word in ("Sanitizer", "runtime error:"):
            if word in self.log():
                print("# " + self.log()[self.log().index(word) - 200:]
                      .replace("\n", "\n# "))
                return word
        return code

    def log(self):
        with open(os.path.join(self.top, "log"), encoding="utf-8",
                  errors="replace") as stream:
            return stream.read()

    def logged(self, text, seconds=10):
        return until(lambda: text in self.log(), seconds)

    # processes

    def init(self):
        return self.process.pid

    def agent(self):
        return next((pid for pid in children(self.init())
                     if title(pid).startswith("mesh-agent run")), 0)

    def master(self):
        return next((pid for pid in children(self.init())
                     if title(pid).startswith("nginx: master")), 0)

    def workers(self, of=None):
        of = of or self.master()
        return [pid for pid in (children(of) if of else [])
                if title(pid) == "nginx: worker process"]

    def orphans(self):
        return [pid for pid in children(self.init())
                if title(pid).startswith("nginx: worker")]

    def serves(self, port=4143, seconds=10):
        return until(lambda: get(port)[0] == 200, seconds)

    def ready(self):
        return get(4191, "/ready")

    def generation(self):
        data = self.read("state")
        return int.from_bytes(data[24:32], "little") if len(data) > 32 else 0

    def ask(self, path="/ready"):
        """The agent's own answer, without nginx."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(os.path.join(self.run, "admin.sock"))
                s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                data = b""
                while True:
                    more = s.recv(65536)
                    if not more:
                        break
                    data += more
                head, _, body = data.partition(b"\r\n\r\n")
                return int(head.split()[1]), body.decode()
        except (OSError, IndexError) as error:
            return 0, str(error)
