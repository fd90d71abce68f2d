#!/usr/bin/python3 -B

"""One nginx behind conf/redirect.nft: where an intercepted connection goes,
who waits, who is refused.  The virtual listeners only say their name, so no
other part of the mesh is needed; once with one worker, once with two."""

import ctypes
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "lib"))

from meshtap import TREE, Tap, until

BUILD = os.environ.get("MESH_BUILD", os.path.join(TREE, "build"))
POD, PEER = f"mesh-ip-{os.getpid()}", f"mesh-iq-{os.getpid()}"

libc = ctypes.CDLL(None, use_errno=True)

HTTP = b"GET /a%20b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

# preface, settings, "GET /", and a stream of a wrong number, which ends it
HTTP2 = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
         b"\0\0\6\1\5\0\0\0\1\x82\x86\x84\x41\1x"
         b"\0\0\1\1\5\0\0\0\2\x82")

CONF = """
load_module modules/ngx_stream_module.so;
load_module {module};
user root; worker_processes {workers}; daemon off; pid {dir}/pid;
error_log {dir}/log info;
worker_shutdown_timeout 2s;
mesh_state {dir}/state; mesh_agent unix:{dir}/agent.sock; mesh_zone mesh:2m;
mesh_listen 127.0.0.1:4140 outbound; mesh_listen [::1]:4140 outbound;
mesh_listen 0.0.0.0:4143 inbound; mesh_listen [::]:4143 inbound;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {dir}/t; proxy_temp_path {dir}/t;
    fastcgi_temp_path {dir}/t; uwsgi_temp_path {dir}/t; scgi_temp_path {dir}/t;
    ssl_certificate {dir}/cert; ssl_certificate_key {dir}/key;
    server {{ listen 127.0.0.1:65001; listen [::1]:65001;
        return 200 "out-http $server_addr:$server_port $request_uri\\n"; }}
    server {{ listen 127.0.0.1:65002; listen [::1]:65002;
        return 200 "out-http2 $server_addr:$server_port\\n"; }}
    server {{ listen 127.0.0.1:65011; listen [::1]:65011;
        return 200 "in-http $server_addr:$server_port $remote_addr\\n"; }}
    server {{ listen 127.0.0.1:65013 ssl; listen [::1]:65013 ssl;
        return 200 "in-mesh-http $server_addr:$server_port\\n"; }}
    server {{ listen 127.0.0.1:65012; listen [::1]:65012;
        return 200 "in-http2 $server_addr:$server_port\\n"; }}
    server {{ listen 127.0.0.1:65014 ssl; listen [::1]:65014 ssl;
        return 200 "in-mesh-http2 $server_addr:$server_port\\n"; }}
    server {{ listen 4191; location / {{ stub_status; }} }}
}}
stream {{
    ssl_certificate {dir}/cert; ssl_certificate_key {dir}/key;
    server {{ listen 127.0.0.1:65003; listen [::1]:65003;
        return "out-raw $server_addr:$server_port\\n"; }}
    server {{ listen 127.0.0.1:65015; listen [::1]:65015;
        return "in-raw $server_addr:$server_port\\n"; }}
    server {{ listen 127.0.0.1:65016 ssl; listen [::1]:65016 ssl;
        return "in-mesh-raw $server_addr:$server_port\\n"; }}
}}
"""

STATE = """
complete on; unknown_in_cluster refuse; trust_domain cluster.local;
networks 10.0.0.0/8 fd00::/8;
self shop/web-1;
mesh_workload shop/web-1 {
    identity spiffe://cluster.local/ns/shop/sa/web; meshed on;
    address 10.77.0.2; address fd00:77::2; port 8080 http1; port 8081 opaque;
}
mesh_service shop/cart:80 {
    address 10.96.14.7:80; address [fd00:96::7]:80; protocol http1;
    endpoint 10.77.0.3:8080;
}
mesh_service shop/any:81 {
    address 10.96.14.7:81; address [fd00:96::7]:81; protocol detect;
    endpoint 10.77.0.3:8080;
}
mesh_service shop/op:82 {
    address 10.96.14.7:82; protocol opaque; endpoint 10.77.0.3:8080;
}
nobody 10.1.2.3:80;
"""

CART, ANY, OPAQUE = ("10.96.14.7", 80), ("10.96.14.7", 81), ("10.96.14.7", 82)
CART6, ANY6 = ("fd00:96::7", 80), ("fd00:96::7", 81)


def sh(text):
    subprocess.run(["sh", "-ec", text], check=True)


def enter(name):
    """This thread, and what it starts, lives in that namespace."""
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY)
    if libc.setns(fd, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def namespaces():
    sh(f"""
    for n in {POD} {PEER}; do ip netns add $n; ip -n $n link set lo up; done
    ip -n {POD} link add eth0 type veth peer name eth0 netns {PEER}
    i=2
    for n in {POD} {PEER}; do
        ip -n $n addr add 10.77.0.$i/24 dev eth0
        ip -n $n addr add fd00:77::$i/64 dev eth0 nodad
        ip -n $n link set eth0 up
        ip -n $n route add default via 10.77.0.$((5 - i))
        ip -n $n -6 route add default via fd00:77::$((5 - i))
        i=$((i + 1))
    done
    ip netns exec {POD} nft -f {TREE}/conf/redirect.nft
    """)


def connect(address):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    s = socket.socket(family)
    s.settimeout(10)
    s.connect(address)
    return s


def read(s):
    data = b""
    try:
        while True:
            got = s.recv(65536)
            if not got:
                return data.decode("latin1")
            data += got
    except ConnectionResetError:
        return data.decode("latin1") + "<reset>"
    except socket.timeout:
        return data.decode("latin1") + "<nothing>"


def talk(address, *pieces, gap=0.05, fin=False):
    try:
        s = connect(address)
        for n, piece in enumerate(pieces):
            if n:
                time.sleep(gap)
            s.sendall(piece)
        if fin:
            s.shutdown(socket.SHUT_WR)
        return read(s)
    except ConnectionResetError:
        return "<reset>"


def tls(address, *alpn, send=HTTP):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    try:
        s = context.wrap_socket(connect(address), server_hostname="shop.x")
    except ssl.SSLError as error:
        return error.reason
    s.sendall(send)
    return read(s)


class Nginx:
    def __init__(self, workers=1, connections=2048):
        self.temp = tempfile.TemporaryDirectory(prefix="mesh-intercept-")
        self.dir = self.temp.name
        self.generation = 0
        sh(f"""
        cd {self.dir}
        cp {BUILD}/ngx_mesh_module.so module.so
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -keyout key -out cert -days 2 -subj /CN=x 2> openssl.log
        """)
        self.write("conf", CONF.format(dir=self.dir, workers=workers,
                                       module=f"{self.dir}/module.so",
                                       connections=connections))
        self.agent = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.agent.bind(f"{self.dir}/agent.sock")
        self.heard = ""
        self.state()
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", POD, "nginx", "-c", f"{self.dir}/conf"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(workers):
            if not self.hears("state 1 ok"):
                raise RuntimeError(self.log())
            self.heard = self.heard.replace("state 1 ok", "", 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        self.agent.close()
        self.temp.cleanup()

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, data):
        mode = "wb" if isinstance(data, bytes) else "w"
        with open(self.path(name + ".new"), mode) as f:
            f.write(data)
        os.rename(self.path(name + ".new"), self.path(name))

    def log(self):
        with open(self.path("log")) as f:
            return f.read()

    def state(self, more="", **replaced):
        """A new snapshot; returns its generation."""
        self.generation += 1
        text = STATE
        for have, want in replaced.items():
            text = re.sub(rf"\b{have} \w+;", f"{have} {want};", text)
        self.write("text", f"generation {self.generation};{text}{more}")
        sh(f"{BUILD}/meshctl state compile {self.path('text')} "
           f"-o {self.path('compiled')}")
        os.rename(self.path("compiled"), self.path("state"))
        return self.generation

    def hears(self, line, seconds=10):
        """Has the agent's socket got that line?"""
        def heard():
            while select.select([self.agent], [], [], 0)[0]:
                self.heard += self.agent.recv(1024).decode()
            return line in self.heard
        return until(heard, seconds)

    def active(self):
        return int(re.search(r"Active connections: (\d+)",
                             talk(("127.0.0.1", 4191), HTTP)).group(1))


def later(function, *arguments):
    """Runs it in a thread; call the result to wait for its value."""
    value = []
    thread = threading.Thread(target=lambda: value.append(
        function(*arguments)))
    thread.start()

    def get():
        thread.join()
        return value[0] if value else None
    return get


def outbound(t):
    enter(POD)
    for what, address, pieces, want in (
            ("HTTP", CART, [HTTP], "out-http 10.96.14.7:80 /a%20b"),
            ("HTTP over IPv6", CART6, [HTTP], "out-http fd00:96::7:80"),
            ("HTTP, not declared", ANY, [HTTP], "out-http 10.96.14.7:81"),
            ("a request line in pieces", ANY,
             [b"G", b"ET /x", b" HTTP/1", b".1\r", HTTP[20:]], "out-http"),
            ("bytes", ANY, [b"\1\2hello"], "out-raw 10.96.14.7:81"),
            ("a line that is not HTTP", ANY6, [b"SET a 1\r\n"],
             "out-raw fd00:96::7:81"),
            ("HTTP/2 by prior knowledge", ANY,
             [HTTP2], "out-http2 10.96.14.7:81"),
            ("HTTP/2 over IPv6, in pieces", ANY6,
             [HTTP2[:10], HTTP2[10:]], "out-http2 fd00:96::7:81"),
            ("CONNECT", ANY, [b"CONNECT x:1 HTTP/1.1\r\n\r\n"], "out-raw"),
            ("HTTP on an opaque port", OPAQUE, [HTTP], "out-raw"),
            ("silence on an opaque port", OPAQUE, [], "out-raw"),
            ("silence on Redis's port", ("203.0.113.9", 6379), [],
             "out-raw 203.0.113.9:6379"),
            ("HTTP to the world", ("203.0.113.9", 99), [HTTP],
             "out-http 203.0.113.9:99"),
            ("HTTP to the world over IPv6", ("2001:db8:1::9", 80), [HTTP],
             "out-http 2001:db8:1::9:80"),
            ("a request line of 20 KB", ANY,
             [b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n"], "414"),
            ("straight to the port", ("127.0.0.1", 4140), [HTTP], "<reset>"),
            ("straight over IPv6", ("::1", 4140), [HTTP], "<reset>"),
            ("nobody's address", ("10.1.2.3", 80), [HTTP], "<reset>"),
            ("probe", ("192.0.2.1", 4140), [], "outbound\n"),
            ("probe over IPv6", ("2001:db8::1", 4140), [], "outbound\n"),
            ("inbound probe", ("192.0.2.1", 4143), [], "inbound\n"),
            ("inbound probe over IPv6", ("2001:db8::1", 4143), [],
             "inbound\n")):
        t.has(talk(address, *pieces), want, f"outbound: {what}")

    for address in ANY, ANY6:
        began = time.monotonic()
        t.has(talk(address), "out-raw", "the server may speak first")
        t.ok(time.monotonic() - began > 0.25, "after the time of detection")

    t.has(talk(ANY, fin=True), "out-raw", "an end without a byte is passed")
    t.has(talk(ANY, b"GE", fin=True), "out-raw", "half a verb and the end too")
    t.equal(tls(ANY), "WRONG_VERSION_NUMBER", "an application's TLS goes raw")

    s = connect(CART)
    time.sleep(0.6)
    s.sendall(HTTP)
    t.has(read(s), "out-http", "a declared HTTP port is never taken for raw")


def inbound(t):
    enter(PEER)
    here, here6, opaque = ("10.77.0.2", 90), ("fd00:77::2", 90), \
        ("10.77.0.2", 8081)
    for what, address, pieces, want in (
            ("HTTP", ("10.77.0.2", 8080), [HTTP],
             "in-http 10.77.0.2:8080 10.77.0.3"),
            ("HTTP over IPv6", ("fd00:77::2", 8080), [HTTP],
             "in-http fd00:77::2:8080 fd00:77::3"),
            ("HTTP, not declared", here, [HTTP], "in-http"),
            ("HTTP/2", here6, [HTTP2], "in-http2 fd00:77::2:90"),
            ("bytes", here6, [b"\0"], "in-raw fd00:77::2:90"),
            ("silence", here, [], "in-raw 10.77.0.2:90"),
            ("HTTP on an opaque port", opaque, [HTTP], "in-raw"),
            ("silence on an opaque port", opaque, [], "in-raw"),
            ("straight to the port", ("10.77.0.2", 4143), [HTTP], "<reset>"),
            ("straight over IPv6", ("fd00:77::2", 4143), [HTTP], "<reset>"),
            ("for somebody else", ("10.55.5.5", 80), [HTTP], "<reset>")):
        t.has(talk(address, *pieces), want, f"inbound: {what}")

    for address in here, here6, opaque:
        t.has(tls(address, "mesh/1", "http/1.1"), "in-mesh-http",
              f"mesh TLS with HTTP at {address}")
        t.has(tls(address, "mesh/1", "h2", send=HTTP2), "in-mesh-http2",
              f"mesh TLS with HTTP/2 at {address}")
        t.has(tls(address, "mesh/1", "mesh-tcp"), "in-mesh-raw",
              f"mesh TLS with TCP at {address}")
        t.equal(tls(address, "h2", "http/1.1"), "WRONG_VERSION_NUMBER",
                f"other TLS goes raw at {address}")


def ways(t):
    for workers in 1, 2:
        t.note(f"worker_processes {workers}")
        with Nginx(workers) as nginx:
            outbound(t)
            inbound(t)
            enter(POD)
            t.equal(until(lambda: nginx.active() == 1), True,
                    "no connection is left")


def holding(t):
    enter(POD)
    with Nginx() as nginx:
        new = ("10.96.20.1", 80), ("fd00:96::20", 80)
        waiting = [later(talk, a, HTTP) for a in new * 10]
        t.ok(nginx.hears("want 10.96.20.1:80"), "the agent is asked")
        t.ok(nginx.hears("want [fd00:96::20]:80"), "for IPv6 too")
        nginx.state("mesh_service shop/new:80 { address 10.96.20.1:80; "
                    "address [fd00:96::20]:80; endpoint 10.77.0.3:1; }")
        t.equal(sum("out-http" in get() for get in waiting), 20,
                "all that waited go on")
        t.ok(nginx.hears("used 10.96.20.1:80"), "use is reported")

        waiting = later(talk, ("10.96.20.2", 80), HTTP)
        nginx.hears("want 10.96.20.2:80")
        nginx.state("nobody 10.96.20.2:80;")
        t.equal(waiting(), "<reset>", "the answer may be: nobody")

        began = time.monotonic()
        t.equal(talk(("10.9.9.9", 80), HTTP), "<reset>", "no answer")
        t.ok(time.monotonic() - began > 0.45, "after half a second")

        s = connect(("10.9.9.8", 80))
        nginx.hears("want 10.9.9.8:80")
        s.close()
        t.ok(until(lambda: nginx.active() == 1, 0.4), "who leaves is let go")

        generation = nginx.state(complete="off")
        nginx.hears(f"state {generation} ok")
        began = time.monotonic()
        t.equal(talk(("10.1.2.3", 80), HTTP), "<reset>",
                "nobody counts only when the state is complete")
        t.ok(time.monotonic() - began > 0.45, "so it waited")

        generation = nginx.state(unknown_in_cluster="pass")
        nginx.hears(f"state {generation} ok")
        t.has(talk(("10.1.2.3", 80), HTTP), "out-http", "pass: nobody")
        t.has(talk(("10.9.9.9", 80), HTTP), "out-http", "pass: unknown")


def limits(t):
    enter(POD)

    def refused(addresses):
        sockets = []
        for address in addresses:
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(address)
            sockets.append(s)
        time.sleep(0.25)
        count = 0
        for s in sockets:
            try:
                s.recv(1)
            except ConnectionResetError:
                count += 1
            except OSError:
                pass
            s.close()
        return count

    with Nginx() as nginx:
        t.equal(refused([(f"10.66.{n >> 8}.{n & 255}", 80)
                         for n in range(266)]), 10,
                "more than 256 addresses are not waited for")
        t.ok(until(lambda: nginx.active() == 1), "and all is let go")

    with Nginx(connections=64) as nginx:
        slow = [connect(ANY) for _ in range(70)]
        for s in slow[:40]:
            s.send(b"GET")
        t.has(talk(ANY, HTTP), "out-http", "slow clients are dropped first")
        t.has(nginx.log(), "reusing connections", "by nginx's own means")


def snapshots(t):
    enter(POD)
    with Nginx() as nginx:
        with open(nginx.path("state"), "rb") as f:
            good = f.read()
        flipped = bytearray(good)
        flipped[len(good) // 2] ^= 1
        for data, reason in ((good[:-8], "does not have the size"),
                             (b"", "shorter than its head"),
                             (bytes(flipped), "checksum")):
            nginx.write("state", data)
            t.ok(nginx.hears(reason), f"refused: {reason}")
        os.unlink(nginx.path("state"))
        t.ok(nginx.hears("file is missing"), "refused: missing")
        t.has(talk(CART, HTTP), "out-http", "the last good one stays")
        nginx.generation = 40
        t.ok(nginx.hears(f"state {nginx.state()} ok"), "the next is taken")


def reloading(t):
    enter(POD)
    with Nginx() as nginx:
        master = int(open(nginx.path("pid")).read())
        idle, part, silent = connect(CART), connect(ANY), connect(ANY)
        part.send(b"GET / HT")
        until(lambda: nginx.active() == 4)
        held = later(talk, ("10.9.9.9", 80), HTTP)
        nginx.hears("want 10.9.9.9:80")
        os.kill(master, signal.SIGHUP)
        t.equal(read(idle), "", "an idle connection is closed")
        part.send(b"TP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        t.has(read(part), "out-http", "half a request is waited for")
        t.has(read(silent), "out-raw", "detection ends as ever")
        t.equal(held(), "<reset>", "and so does waiting")
        t.has(talk(ANY, HTTP), "out-http", "the new worker has its state")

        part = connect(ANY)
        part.send(b"GET / HT")
        until(lambda: nginx.active() == 2)
        os.kill(master, signal.SIGHUP)
        t.ok(read(part) in ("", "<reset>"),
             "worker_shutdown_timeout is obeyed")
        t.ok(until(lambda: len(subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(master)],
            stdout=subprocess.PIPE).stdout.split()) == 1),
            "the old worker is gone")
        t.ok(until(lambda: nginx.active() == 1), "no connection is left")


def main():
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        namespaces()
        return Tap().run([ways, holding, limits, snapshots, reloading])
    finally:
        libc.setns(home, 0)
        for name in POD, PEER:
            subprocess.run(["ip", "netns", "del", name], check=False)


if __name__ == "__main__":
    sys.exit(main())
