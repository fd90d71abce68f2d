#!/usr/bin/python3

# How meshd watch gets to an API server: TLS, certificates and tokens that
# change, HTTP/2, a pod's service account; and who it does not talk to.

import ipaddress
import json
import os
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubeapi import Api
from kubeworld import KubeWorld, wait
from meshpki import Authority, at, pem, text_of
from meshtap import Tap, until
from meshwatch import pod, service


def server_leaf(authority, names, client=False):
    """A certificate for DNS names and addresses, or a client's."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (x509.CertificateBuilder()
               .subject_name(x509.Name([x509.NameAttribute(
                   NameOID.COMMON_NAME, names[0])]))
               .issuer_name(authority.cert.subject)
               .public_key(key.public_key())
               .serial_number(x509.random_serial_number())
               .not_valid_before(at(-60)).not_valid_after(at(3600)))
    if not client:
        builder = builder.add_extension(x509.SubjectAlternativeName([
            x509.IPAddress(ipaddress.ip_address(name))
            if name[0].isdigit() else x509.DNSName(name)
            for name in names]), False)
    cert = builder.sign(authority.key, hashes.SHA256())
    return text_of(cert), pem(key)


class TlsWorld(KubeWorld):
    """With a CA, and a server that may ask for a client's certificate."""

    def __init__(self, names=("127.0.0.1",), ask=False):
        self.ca = Authority.root("cluster CA")
        api = Api()
        super().__init__(api)
        self.write("ca.crt", text_of(self.ca.cert))
        cert, key = server_leaf(self.ca, names)
        self.write("server.crt", cert)
        self.write("server.key", key)
        api.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        api.tls.load_cert_chain(self.path("server.crt"),
                                self.path("server.key"))
        if ask:
            api.tls.load_verify_locations(self.path("ca.crt"))
            api.tls.verify_mode = ssl.CERT_REQUIRED
        self.cluster = {"certificate-authority": "ca.crt"}
        api.put(service("cart", "10.96.0.7"),
                pod("cart-1", "10.244.0.5", app="cart"))


def tokens(tap):
    with TlsWorld() as world:
        world.api.tokens = {"first"}
        world.write("kube-token", "first\n")
        world.user = {"tokenFile": "kube-token"}
        world.kubeconfig()
        world.start_watch()
        tap.equal(world.true(), "", "tokens: TLS and a token")

        # the token is another one now, and the old one ends

        world.write("kube-token", "second\n")
        world.api.tokens = {"second"}
        world.api.cut()
        world.api.put(service("b", "10.96.0.8"))
        tap.equal(world.true(), "", "tokens: read again in time")
        tap.ok("status 401" not in world.log(), "tokens: without a refusal",
               world.log())

        # it ends before its file is another one

        world.api.tokens = {"third"}
        world.api.cut()
        tap.ok(until(lambda: "status 401" in world.log()),
               "tokens: refused", world.log())
        tap.ok(world.document("mesh:svc:shop/b"), "tokens: documents stay")
        world.write("kube-token", "third\n")
        world.api.put(service("c", "10.96.0.9"))
        tap.equal(world.true(), "", "tokens: a new file is enough")
        tap.ok("third" not in world.log() and "second" not in world.log(),
               "tokens: none is in the log")


def client_certificates(tap):
    with TlsWorld(ask=True) as world:
        cert, key = server_leaf(world.ca, ["mesh-watch"], client=True)
        world.write("client.crt", cert)
        world.write("client.key", key)
        world.user = {"client-certificate": "client.crt",
                      "client-key": world.path("client.key")}
        world.kubeconfig()
        world.start_watch()
        tap.equal(world.true(), "", "client: a certificate is shown")
        cert, key = server_leaf(Authority.root("stranger"), ["mesh-watch"],
                                client=True)
        world.write("client.crt", cert)
        world.write("client.key", key)
        world.api.cut()
        tap.ok(until(lambda: "ssl" in world.log().lower() or
                     "alert" in world.log().lower()),
               "client: a strange one is refused", world.log())
        world.user = {"token": "none"}
        cert, key = server_leaf(world.ca, ["mesh-watch"], client=True)
        world.write("client.crt", cert)
        world.write("client.key", key)
        world.api.put(service("b", "10.96.0.8"))
        tap.equal(world.true(), "", "client: a good one again")


def strangers(tap):
    """Servers that are not the one that is meant."""
    with TlsWorld() as world:
        world.write("ca.crt", text_of(Authority.root("other").cert))
        world.api.tokens = {"secret"}
        world.user = {"token": "secret"}
        world.kubeconfig()
        world.start_watch()
        tap.ok(until(lambda: "certificate" in world.log()),
               "strangers: a wrong CA is logged", world.log())
        wait(1)
        tap.equal(world.api.requests, [], "strangers: nothing is sent")
        world.write("ca.crt", text_of(world.ca.cert))
        tap.equal(world.true(), "", "strangers: the right CA file is enough")

    with TlsWorld(names=("kubernetes",)) as world:
        world.start_watch()
        tap.ok(until(lambda: "127.0.0.1" in world.log().split("lease")[-1]
                     or "subject name" in world.log()),
               "strangers: a wrong name is logged", world.log())
        wait(1)
        tap.equal(world.api.requests, [], "strangers: nothing is sent")
        world.cluster["tls-server-name"] = "kubernetes"
        world.kubeconfig()
        tap.equal(world.true(), "", "strangers: tls-server-name says who")


def options(tap):
    with KubeWorld() as world:
        for words, what in (
                (["--kubeconfig=/none/such"], "/none/such"),
                (["--in-cluster"], "KUBERNETES_SERVICE_HOST"),
                ([], "expected one of the options --source, --kubeconfig"),
                (["--in-cluster", "--source=dir:/tmp"], "expected one of"),
                (["--in-cluster", "--context=x"], "--context needs"),
                (["--in-cluster", "--lease=x"], "NAMESPACE/NAME"),
                (["--kubeconfig=" + world.path("kubeconfig"),
                  "--context=nowhere"], "\"nowhere\"")):
            world.write("watch.log", "")
            world.start_watch(where=words or ["--log-level=notice"])
            tap.ok(world.processes["watch"].wait(10) in (1, 2),
                   f"options: {' '.join(words)} does not start")
            tap.has(world.log(), what, "options: and says why")
            world.processes.pop("watch")


def in_cluster(tap):
    """A pod: the service account's files, and the environment."""
    with TlsWorld() as world:
        world.api.tokens = {"pod"}
        place = "/run/secrets/kubernetes.io/serviceaccount"
        script = ("mount -t tmpfs tmpfs /run && mkdir -p {0} && "
                  "cp {1}/ca.crt {1}/namespace {0} && ln -s {1}/pod-token "
                  "{0}/token && export KUBERNETES_SERVICE_HOST=127.0.0.1 "
                  'KUBERNETES_SERVICE_PORT={2} && exec "$@"'
                  .format(place, world.dir.name, world.api.port))
        world.write("namespace", "ngx-mesh")
        world.write("pod-token", "pod")
        world.launch("watch", "unshare", "--mount", "sh", "-c", script, "sh",
                     *world.words("watch"), "--in-cluster")
        tap.equal(world.true(), "", "in cluster: Redis is the truth")
        world.write("pod-token", "other")
        world.api.tokens = {"other"}
        world.api.cut()
        world.api.put(service("b", "10.96.0.8"))
        tap.equal(world.true(), "", "in cluster: the token is read again")


NGINX = """\
daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.log;
events {{ }}
http {{
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2;
    fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
    scgi_temp_path {dir}/t5;
    log_format main '$connection $server_protocol $request_uri';
    access_log {dir}/access.log main;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {dir}/server.crt; ssl_certificate_key {dir}/server.key;
        location / {{
            proxy_pass http://127.0.0.1:{back};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""


def http2(tap):
    """nginx speaks HTTP/2 for the server: all on one connection."""
    with TlsWorld() as world:
        world.api.stop()
        world.api.tls = None
        world.api.start()
        port = world.api.port + 1
        world.write("nginx.conf", NGINX.format(
            dir=world.dir.name, port=port, back=world.api.port))
        world.launch("nginx", "/usr/sbin/nginx", "-c",
                     world.path("nginx.conf"), "-e", world.path("nginx.log"))
        world.kubeconfig(f"https://127.0.0.1:{port}")
        world.start_watch("watch", "--watch-timeout=1")
        tap.equal(world.true(), "", "http2: Redis is the truth")
        world.api.put(service("b", "10.96.0.8"))
        tap.equal(world.true(), "", "http2: a change")
        until(lambda: world.read("access.log").count("watch=true") >= 5)
        lines = [line.split() for line in
                 world.read("access.log").splitlines()]
        tap.equal({line[1] for line in lines}, {"HTTP/2.0"},
                  "http2: every request")
        tap.equal(len({line[0] for line in lines}), 1,
                  "http2: on one connection")
        tap.ok(len(lines) >= 10, f"http2: {len(lines)} requests")
        world.api.cut()
        world.api.put(service("c", "10.96.0.9"))
        tap.equal(world.true(), "", "http2: streams that are cut")
        world.stop("nginx")
        world.api.put(service("d", "10.96.0.10"))
        wait(0.5)
        world.launch("nginx", "/usr/sbin/nginx", "-c",
                     world.path("nginx.conf"), "-e", world.path("nginx.log"))
        tap.equal(world.true(), "", "http2: a connection that is cut")


def compressed(tap):
    """Lists of a real server are gzip from 128 KiB on."""
    with KubeWorld() as world:
        for i in range(300):
            world.api.put(pod(f"p{i}", f"10.244.{i // 200}.{i % 200 + 1}"))
        world.start_watch()
        tap.equal(world.true(), "", "gzip: Redis is the truth")
        tap.ok(json.dumps(world.api.objects()).count("p299") >= 1,
               "gzip: all of it")


sys.exit(Tap().run([tokens, client_certificates, strangers, options,
                    in_cluster, http2, compressed]))
