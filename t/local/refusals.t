#!/usr/bin/python3 -B

"""
Who is refused: each defect of a certificate, HTTP and TCP, with us as the
client and as the server, on fresh and pooled connections, and the same again
after a rotation of the root.  (A connection that has become "not yet valid"
or lost its certificate does not exist; TCP sessions are never pooled.)
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "lib"))

import meshpeer
import meshpki
import meshtap
import meshzoo

TTL = 14                                  # s, of the pods' own leafs
SHORT = 6                                 # s, of a leaf that will expire

SERVERS = {"http": ("zoo/http", 8080), "tcp": ("zoo/echo", 7000)}
IMPOSTORS = {"http": ("http", "impostor.zoo:80", 8080),
             "tcp": ("echo", "impostor.zoo:7000", 7000)}

FRIEND = "spiffe://cluster.local/ns/zoo/sa/client"
IMPOSTOR = "spiffe://cluster.local/ns/zoo/sa/impostor"

zoo = meshzoo.Zoo()
authority = meshpki.ClusterAuthority(zoo)
alerts = []                               # (what, address, port) to look for
wire = None


def defects(ca, uri, wrong):
    """name -> certificate and key"""
    stranger = meshpki.Authority.root().issuer()
    return {
        "of a foreign CA": stranger.leaf(uri),
        "expired": ca.leaf(uri, first=-7200, last=-60),
        "not yet valid": ca.leaf(uri, first=3600, last=7200),
        "wrong identity": ca.leaf(wrong),
        "two identities": ca.leaf(uri, uri + "2"),
        "none": {},
    }


def as_server(t, when):
    """a stranger calls our pods: no byte reaches the app"""
    ca = authority.now()
    bad = defects(ca, FRIEND, "spiffe://elsewhere.example/ns/zoo/sa/client")
    cases = [("good", ca.leaf(FRIEND))] + list(bad.items())

    for kind, (app, port) in SERVERS.items():
        where = f"{zoo.address(app)}:{port}"

        for name, leaf in cases:
            word = f"{when}-{kind}-{name}".replace(" ", "-")
            peer = meshpeer.Caller(zoo, "street/passer", kind, where, leaf)
            answer = peer.ask(word)
            peer.say("-")
            peer.end()

            what = f"{when}, {kind}, our server, certificate {name}"
            if name == "good":
                t.ok(answer and word in zoo.app_log(app),
                     f"{what}: served", str(peer.events))
                continue

            t.ok(answer is None and word not in zoo.app_log(app),
                 f"{what}: refused, no byte at the app", str(peer.events))
            remember(what, peer)


def as_client(t, when):
    """our pod calls an impostor: no byte reaches it"""
    ca = authority.now()
    bad = defects(ca, IMPOSTOR, "spiffe://cluster.local/ns/zoo/sa/other")
    del bad["none"]                       # a TLS 1.3 server always has one
    cases = [("good", ca.leaf(IMPOSTOR))] + list(bad.items())

    for kind, (ask, where, port) in IMPOSTORS.items():
        for name, leaf in cases:
            word = f"{when}-{kind}-{name}".replace(" ", "-")
            peer = meshpeer.Impostor(zoo, "zoo/impostor", kind, port, leaf)
            worked, out = zoo.ask("zoo/client", ask, where, word)
            peer.end()

            what = f"{when}, {kind}, our client, certificate {name}"
            if name == "good":
                reached = peer.found("request")
                t.ok(reached and (worked or "impostor" in out),
                     f"{what}: spoken to", out + str(peer.events))
                continue

            t.ok(peer.found("connected") and not peer.found("request")
                 and not worked,
                 f"{what}: refused, no byte at the server",
                 out + str(peer.events))
            if kind == "http":
                t.has(out.lower(), "mesh-error:", f"{what}: the app is told")
            remember(what, peer)


def without_tls(t, when):
    """a meshed endpoint that does not speak TLS gets nothing"""
    server = zoo.spawn("zoo/impostor", "/usr/bin/python3", "-B",
                       "/zoo/zoo.py", "http", "8080",
                       stdout=open(os.path.join(zoo.work, "plain"), "wb"))
    ready = meshtap.until(lambda: "serving" in plain_log())
    worked, out = zoo.ask("zoo/client", "http", "impostor.zoo:80",
                          "must-not-arrive")
    for pid in meshzoo.descendants(server.pid):
        if meshzoo.cmdline(pid).startswith("/usr/bin/python3"):
            os.kill(pid, 15)
    server.wait(timeout=10)
    t.ok(ready and not worked and "must-not-arrive" not in plain_log(),
         f"{when}, our client, a server without TLS: no request", plain_log())


def plain_log():
    with open(os.path.join(zoo.work, "plain"), encoding="utf-8") as stream:
        return stream.read()


def remember(what, peer):
    for event in peer.found("connected"):
        side = "local" if "call" in peer.process.args else "peer"
        address, port = event[side]
        alerts.append((what, address.removeprefix("::ffff:"), port))


def expires_as_server(t):
    """a caller whose certificate expires between two requests"""
    app, port = SERVERS["http"]
    leaf = authority.now().leaf(FRIEND, last=SHORT)
    end = time.time() + SHORT
    peer = meshpeer.Caller(zoo, "street/passer", "http",
                           f"{zoo.address(app)}:{port}", leaf)
    first = peer.ask("before-expiry")
    t.ok(first and "200" in first, "pooled, http, our server: served while "
         "the caller's certificate is valid", str(peer.events))

    time.sleep(max(0, end + 1.5 - time.time()))
    second = peer.ask("after-expiry")
    peer.end()
    t.ok((second is None or "403" in second.split("\r\n")[0])
         and "after-expiry" not in zoo.app_log(app),
         "and refused once it has expired, before the app", str(second))
    t.ok(second is None or "mesh-error: peer-expired" in second.lower(),
         "with the reason", str(second))


def expires_as_client(t):
    """a server whose certificate expires while its connection is pooled"""
    leaf = authority.now().leaf(IMPOSTOR, last=SHORT)
    end = time.time() + SHORT
    peer = meshpeer.Impostor(zoo, "zoo/impostor", "http", 8080, leaf)
    _, out = zoo.ask("zoo/client", "http", "impostor.zoo:80", "before")
    t.has(out, "impostor", "pooled, http, our client: spoken to while its "
          "certificate is valid")

    time.sleep(max(0, end + 1.5 - time.time()))
    _, out = zoo.ask("zoo/client", "http", "impostor.zoo:80", "after")
    peer.end()
    words = [event["text"] for event in peer.found("request")]
    t.ok(len(words) == 1 and "/before" in words[0],
         "and not after it has expired", str(peer.events))
    t.has(out, "502", "the app is told")


def rotate(t):
    """a new root; what was good by the old one is refused, pooled or not"""
    old = authority.now()
    app, port = SERVERS["http"]
    where = f"{zoo.address(app)}:{port}"

    caller = meshpeer.Caller(zoo, "street/passer", "http", where,
                             old.leaf(FRIEND))
    first = caller.ask("before-rotation")
    t.ok(first and "200" in first, "a caller by the old root is served")

    server = meshpeer.Impostor(zoo, "zoo/impostor", "http", 8080,
                               old.leaf(IMPOSTOR))
    zoo.ask("zoo/client", "http", "impostor.zoo:80", "before-rotation")
    t.ok(meshtap.until(lambda: server.drain() and server.found("request")),
         "and a server by the old root is spoken to")

    for step in authority.new_root():
        t.note(step)
        everybody_renewed(t, step)

    second = caller.ask("after-rotation")
    caller.end()
    t.ok((second is None or "403" in second.split("\r\n")[0])
         and "after-rotation" not in zoo.app_log(app),
         "pooled, http, our server: closed or refused after the rotation",
         str(second))

    zoo.ask("zoo/client", "http", "impostor.zoo:80", "after-rotation")
    server.end()
    t.ok(not any("after-rotation" in event["text"]
                 for event in server.found("request")),
         "pooled, http, our client: not used after the rotation",
         str(server.events))

    for name, leaf in (("old root", old.leaf(FRIEND)),):
        peer = meshpeer.Caller(zoo, "street/passer", "http", where, leaf)
        answer = peer.ask("by-the-old-root")
        peer.end()
        t.ok(answer is None and "by-the-old-root" not in zoo.app_log(app),
             f"a fresh caller by the {name} is refused", str(peer.events))
        remember(f"a fresh caller by the {name}", peer)


def everybody_renewed(t, step):
    """each sidecar has a pair that was issued after now"""
    apps = [(app, index) for app, pods in zoo.names.items()
            for index, pod in enumerate(pods) if pod["meshed"]
            and app != "zoo/impostor"]
    before = {one: pair_of(*one) for one in apps}
    done = meshtap.until(
        lambda: all(pair_of(*one) != before[one] for one in apps), 4 * TTL)
    t.ok(done, f"{step}: every sidecar has a new pair")
    time.sleep(1)                         # their workers follow the link


def pair_of(app, index):
    code, text = zoo.exec(zoo.pod(app, index), "/bin/readlink",
                          "/run/mesh/identity/current", container="ngx-mesh")
    return text if code == 0 else None


def fresh(t):
    as_server(t, "fresh")
    as_client(t, "fresh")
    without_tls(t, "fresh")


def after_rotation(t):
    as_server(t, "rotated")
    as_client(t, "rotated")


def alerts_are_on_the_wire(t):
    wire.stop()
    seen = {}
    for source, source6, sport, dest, dest6, dport, level, name in \
            wire.fields("tls.alert_message", "ip.src", "ipv6.src",
                        "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport",
                        "tls.alert_message.level",
                        "tls.alert_message.desc"):
        if "2" in level.split(","):
            seen.setdefault((source or source6, int(sport)), name)
            seen.setdefault((dest or dest6, int(dport)), name)

    bad = [f"{what}: {address}:{port}" for what, address, port in alerts
           if (address, port) not in seen]
    t.ok(alerts and not bad,
         f"each of the {len(alerts)} refused handshakes ended in a fatal "
         "alert", "\n".join(bad))
    t.note("alerts: " + " ".join(sorted(set(seen.values()))))


def counted(t):
    server = zoo.metrics("zoo/http")
    other = zoo.metrics("zoo/http", 1)
    t.ok(server.sum("mesh_tls_refused_server_total")
         + other.sum("mesh_tls_refused_server_total") >= 6,
         "the server counted what it refused")
    client = zoo.metrics("zoo/client")
    t.ok(client.sum("mesh_tls_refused_client_total") >= 6,
         "and so did the client")


with zoo:
    tap = meshtap.Tap()
    path = os.path.join(zoo.work, "identity.yaml")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(meshzoo.identity_with(f"--leaf-ttl={TTL}"))
    zoo.start(tap, *meshzoo.keylog_options(zoo.work), more=[path])
    wire = zoo.capture("refusals")
    sys.exit(tap.run([fresh, expires_as_server, expires_as_client, rotate,
                      after_rotation, alerts_are_on_the_wire, counted]))
