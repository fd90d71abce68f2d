#!/usr/bin/python3 -B

"""What the wire sees: TLS 1.3 and nothing else between meshed pods."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "lib"))

import meshtap
import meshzoo

KINDS = [                                 # protocol, service, port
    ("http", "http", 80),
    ("redis", "store", 6379),
    ("greet", "greet", 2500),
    ("tls", "tls", 443),
    ("echo", "echo", 7000),
]

GATEWAYS = ("10.244.0.1", "fd00:244::1")  # kubelet's probes come from there
TLS13 = "0x0304"

zoo = meshzoo.Zoo()
wire = None


def everything_passes(t):
    global wire
    wire = zoo.capture("wire")

    for kind, service, port in KINDS:
        for family in (4, 6):
            ip = zoo.vip(f"zoo/{service}", family)
            where = f"[{ip}]:{port}" if family == 6 else f"{ip}:{port}"
            word = f"secret-{kind}-{family}"
            worked, out = zoo.ask("zoo/client", kind, where, word)
            t.ok(worked and word in out,
                 f"{kind} passes between meshed pods by IPv{family}", out)

    worked, out = zoo.ask("zoo/client", "http", "http.zoo:80", "by-name")
    t.ok(worked, "and by name", out)

    for family in (4, 6):
        ip = zoo.address("zoo/http", family)
        where = f"[{ip}]:8080" if family == 6 else f"{ip}:8080"
        worked, out = zoo.ask("zoo/client", "http", where, "secret-pod")
        t.ok(worked, f"and to a pod's own address by IPv{family}", out)


def unmeshed_ones_pass(t):
    worked, out = zoo.ask("street/passer", "http", "http.zoo:80",
                          "plain-from")
    t.ok(worked, "an unmeshed client reaches a meshed server", out)

    worked, out = zoo.ask("street/passer", "greet", "greet.zoo:2500",
                          "plain-greet")
    t.ok(worked, "also one that speaks first", out)

    worked, out = zoo.ask("zoo/client", "http", "stall.street:80",
                          "plain-to")
    t.ok(worked, "a meshed client reaches an unmeshed server", out)

    wire.stop()


def meshed_addresses():
    return {ip for pods in zoo.names.values() for pod in pods
            if pod["meshed"] for ip in pod["ips"]}


def between_meshed(streams):
    """those that began after the capture"""
    meshed = meshed_addresses()
    return {number: stream for number, stream in streams.items()
            if stream.client[0] in meshed and stream.server[0] in meshed
            and stream.whole}


def only_tls_between_meshed(t):
    streams = between_meshed(wire.streams())
    with_data = {number: stream for number, stream in streams.items()
                 if any(stream.both())}

    t.ok(len(with_data) >= len(KINDS) * 2,
         "the capture has the connections between meshed pods",
         f"{len(with_data)} with data")

    bad = []
    for number, stream in with_data.items():
        for data in stream.both():
            if meshzoo.tls_records(data) is None:
                bad.append(f"stream {number} {stream.client} -> "
                           f"{stream.server}: {data[:60]!r}")
    t.ok(not bad, "each of their bytes is in a TLS record", "\n".join(bad))

    meshed = meshed_addresses()
    bad = [f"{stream.client} -> {stream.server}"
           for stream in wire.streams().values()
           for data in stream.both() if b"secret" in data
           and stream.client[0] in meshed and stream.server[0] in meshed]
    t.ok(not bad, "no word of an application is there", " ".join(bad))

    versions = {}
    for number, version in wire.fields(
            "tls.handshake.type == 2", "tcp.stream",
            "tls.handshake.extensions.supported_version"):
        versions[int(number)] = version
    bad = [f"stream {number}: {versions.get(number)}" for number in with_data
           if versions.get(number) != TLS13]
    t.ok(not bad, "each is TLS 1.3", "\n".join(bad))


def the_unmeshed_are_plain(t):
    plain = b"".join(data for stream in wire.streams().values()
                     for data in stream.both())
    for word in (b"plain-from", b"plain-greet", b"plain-to"):
        t.ok(word in plain, f"{word.decode()} is plaintext, as it must be")


def probes_are_plain(t):
    probes = [stream for stream in wire.streams().values()
              if stream.client[0] in GATEWAYS]
    others = [f"{s.client} -> {s.server}" for s in wire.streams().values()
              if s.server[1] == 4191 and s.client[0] not in GATEWAYS]
    t.ok(probes, "kubelet's probes are on the wire")
    t.ok(not others, "the admin port is asked by nobody else",
         "\n".join(others))


def both_certificates_are_there(t):
    streams = between_meshed(wire.streams())
    seen = {}

    for number, source, source6, uri in wire.fields(
            "tls.handshake.type == 11", "tcp.stream", "ip.src", "ipv6.src",
            "x509ce.uniformResourceIdentifier"):
        if int(number) in streams:
            side = source or source6
            seen.setdefault(int(number), {})[side] = uri.split(",")[0]

    with_data = [n for n, s in streams.items() if any(s.both())]
    missing = [f"stream {n}: {seen.get(n)}" for n in with_data
               if len(seen.get(n, {})) != 2]
    t.ok(not missing, "decrypted, each has two certificates",
         "\n".join(missing))

    apps = {ip: app for app, pods in zoo.names.items() for pod in pods
            for ip in pod["ips"]}
    bad = []
    for number, sides in seen.items():
        for ip, uri in sides.items():
            namespace, account = apps[ip].split("/")
            want = f"spiffe://cluster.local/ns/{namespace}/sa/{account}"
            if uri != want:
                bad.append(f"stream {number} {ip}: {uri}, not {want}")
    t.ok(seen and not bad, "each names the pod that it comes from",
         "\n".join(bad))


def alpn_names_the_inner_protocol(t):
    found = {words for _, words in wire.fields(
        "tls.handshake.type == 1 && tls.handshake.extensions_alpn_str "
        'contains "mesh/1"', "tcp.stream",
        "tls.handshake.extensions_alpn_str")}
    t.ok(any("http/1.1" in words for words in found),
         "ALPN mesh/1 with http/1.1", str(found))
    t.ok(any("mesh-tcp" in words for words in found),
         "ALPN mesh/1 with mesh-tcp", str(found))


def counters_agree(t):
    samples = zoo.metrics("zoo/client")
    t.ok(samples.sum("request_total", direction="outbound", tls="true") >= 5,
         "the client counts its requests as mTLS")
    t.ok(samples.sum("request_total", direction="outbound",
                     tls="no_identity") >= 1,
         "and the one to the unmeshed server as not")

    inbound = zoo.metrics("zoo/greet")
    t.ok(inbound.sum(
        "tcp_open_total", direction="inbound", tls="true",
        client_id="spiffe://cluster.local/ns/zoo/sa/client") >= 2,
         "the server knows its client")


with zoo:
    tap = meshtap.Tap()
    zoo.start(tap, *meshzoo.keylog_options(zoo.work))
    sys.exit(tap.run([
        everything_passes, unmeshed_ones_pass, only_tls_between_meshed,
        the_unmeshed_are_plain, probes_are_plain,
        both_certificates_are_there, alpn_names_the_inner_protocol,
        counters_agree]))
