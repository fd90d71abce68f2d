#!/usr/bin/python3

# mesh-agent run --static with the real meshd identity: the first pair, new
# ones, what is kept on disk, and what happens while nobody answers.

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import sidecar

sidecar.isolate()

import mesh as rest
from mesh import Mesh, dump
from meshpki import Authority, text_of
from meshtap import Tap, until
from sidecar import Sidecar

rest.network()

STATE = """\
complete on;
mesh_service shop/cart:80 { address 10.96.0.20:80; endpoint 10.1.1.1:80; }
"""


def made(mesh, *options):
    side = Sidecar("--log-level=info", *options, template=None, redis=None)
    side.options["static"] = side.give("state.mesh", STATE)
    side.give("trust.pem", mesh.trust() if mesh else "")
    return side


def served(*options):
    mesh = Mesh(*options)
    mesh.identity.start()
    if not until(lambda: os.path.exists(mesh.path("ca/trust.crt"))
                 and "listening" in mesh.identity.log()):
        raise RuntimeError(mesh.identity.log())
    return mesh


def epochs(side):
    return sorted(int(name) for name in
                  os.listdir(os.path.join(side.run, "identity"))
                  if name.isdigit())


def current(side):
    try:
        return int(os.readlink(os.path.join(side.run, "identity/current")))
    except OSError:
        return 0


def first_pair(t):
    with served() as mesh, made(mesh) as side:
        side.start()
        t.ok(until(lambda: side.ready()[0] == 200, 15), "ready",
             f"{side.ready()} {side.ask()} {side.log()[-3000:]}")
        t.equal((current(side), epochs(side)), (1, [1]), "epoch 1")
        for name, mode in (("key.pem", "400"), ("cert.pem", "444"),
                           ("trust.pem", "444")):
            info = os.stat(f"{side.run}/identity/current/{name}")
            t.equal((oct(info.st_mode)[-3:], info.st_uid), (mode, 2102),
                    f"{name} is {mode} of 2102")
        t.equal(side.read("identity/current/trust.pem").decode(),
                mesh.trust(), "the bundle is kept with the pair")
        text = subprocess.run(["openssl", "x509", "-noout", "-ext",
                               "subjectAltName"], stdout=subprocess.PIPE,
                              input=side.read("identity/current/cert.pem"),
                              check=True).stdout.decode()
        t.has(text, "URI:spiffe://cluster.local/ns/shop/sa/web", "its name")

        t.has(dump(side), "address 10.244.0.6;", "own address of the network")
        t.has(dump(side), "mesh_service shop/cart:80", "the static text")
        t.ok(b"redis" not in side.read("nginx.conf"), "no way to Redis")

        # the text is followed

        side.give("state.mesh", STATE.replace("10.1.1.1", "10.1.1.2"))
        t.ok(until(lambda: "endpoint 10.1.1.2:80" in dump(side)),
             "a new text is taken")
        side.give("state.mesh", "nonsense;")
        t.ok(side.logged('state.mesh:1: unknown directive "nonsense"'),
             "a bad one is told with file and line")
        t.ok("endpoint 10.1.1.2:80" in dump(side), "and changes nothing")
        t.ok(until(lambda: side.ready()[0] == 503), "but is no readiness")
        side.give("state.mesh", STATE)
        t.ok(until(lambda: side.ready()[0] == 200), "until it is mended")
        t.equal(side.stop(), 0, "ends")


def renewal(t):
    """Leafs of 5 s: a new pair every 3.5 s, the last two stay."""
    with served("--leaf-ttl=5") as mesh, made(mesh) as side:
        side.start()
        t.ok(until(lambda: side.ready()[0] == 200, 15), "ready",
             side.log()[-2000:])
        keys, start = set(), time.monotonic()
        until(lambda: keys.add(side.read("identity/current/key.pem"))
              or current(side) >= 4, 30)
        took = time.monotonic() - start
        t.equal(len(keys - {b""}), 4, "each pair has a new key")
        t.ok(8 < took < 14, "at 70 % of life", took)
        t.ok(until(lambda: epochs(side)
                   == [current(side) - 1, current(side)]),
             "the last two are on disk", epochs(side))
        t.ok(side.logged(f"uses identity {current(side)}"),
             "nginx uses the new one")
        t.equal(side.log().count("started, pid"), 2, "nothing was restarted")
        t.ok("reloads" not in side.log(), "nor reloaded")


def disk(t):
    """A pair that is good serves without the network."""
    with served() as mesh, made(mesh) as side:
        side.start()
        t.ok(until(lambda: side.ready()[0] == 200, 15), "ready")
        t.equal(side.stop(), 0, "ends")
        mesh.identity.kill()
        key = side.read("identity/current/key.pem")
        side.start()
        t.ok(until(lambda: side.ready()[0] == 200, 15),
             "ready without anybody")
        t.equal(side.read("identity/current/key.pem"), key, "the same pair")
        t.equal(side.stop(), 0, "ends")

        # what is not good is not used

        root = Authority.root("stranger")
        for what, pair in {
            "of a stranger": dict(trust=mesh.trust()),
            "expired": dict(trust=text_of(root.cert), first=-100, last=-1),
            "of somebody else": dict(trust=text_of(root.cert),
                                     uri="spiffe://cluster.local/ns/a/sa/b"),
        }.items():
            side.pair(root.issuer(), epoch=9, **pair)
            before = side.log().count("no identity on disk")
            side.start()
            t.ok(until(lambda: side.log().count("no identity on disk")
                       > before), f"a pair {what} is not used")
            t.equal(side.ask()[0], 503, "not ready")
            t.equal(side.master(), 0, "nginx is not started")
            t.equal(side.stop(), 0, "ends")

        mesh.identity.start()
        side.start()
        t.ok(until(lambda: side.ready()[0] == 200, 15), "ready with identity",
             f"{side.ask()} {side.log()[-1500:]}")
        t.equal(current(side), 10, "under a new epoch")


def nobody_answers(t):
    """No identity, no token: it says so, waits, and goes on when they come."""
    with served() as mesh, made(mesh) as side:
        mesh.identity.kill()
        side.give("token", "wrong\n")
        side.start()
        t.ok(side.logged("no certificate from"), "nobody answers")
        code, text = side.ask()
        t.equal(code, 503, "not ready")
        for line in ("identity: no certificate yet", "nginx: nginx does not",
                     "state: no worker", "redirect of IPv4: not probed"):
            t.has(text, line, "which is said")
        mesh.identity.start()
        t.ok(side.logged("unknown-token", 20) or side.logged("token"),
             "a wrong token is refused", side.log()[-800:])
        side.give("token", "tok-web\n")
        t.ok(until(lambda: side.ready()[0] == 200, 30), "then all is well",
             side.log()[-1500:])


def stranger_answers(t):
    """The server's certificate is not of our bundle: no token goes there."""
    with served() as mesh, made(mesh) as side:
        side.give("trust.pem", text_of(Authority.root("other").cert))
        side.start()
        t.ok(side.logged("no certificate from"), "a stranger is not trusted")
        t.ok("issued" not in mesh.identity.log(), "and issued nothing")
        t.equal(current(side), 0, "no pair")


def full_disk(t):
    """No room for a pair: what was begun is taken away, at each attempt."""
    with served() as mesh, made(mesh) as side:
        where = os.path.join(side.run, "identity")
        side.own("identity/none", "")
        subprocess.run(["mount", "-t", "tmpfs", "-o",
                        f"size=8k,mode=700,uid={sidecar.UID}", "tmpfs",
                        where], check=True)
        try:
            side.start()
            t.ok(until(lambda: side.log().count("is not kept") >= 3, 15),
                 "a pair that finds no room is not kept", side.log()[-800:])
            t.ok(until(lambda: epochs(side) == [], 5),
                 "nothing of it stays", epochs(side))
            subprocess.run(["mount", "-o", "remount,size=1m", where],
                           check=True)
            t.ok(until(lambda: side.ready()[0] == 200, 20),
                 "ready when there is room", side.log()[-800:])
            t.equal(epochs(side), [current(side)], "with one pair")
            t.equal(side.stop(), 0, "ends")
        finally:
            side.stop()
            subprocess.run(["umount", where], check=True)


def refused(t):
    """A worker that refuses every pair makes no storm at identity."""
    with served() as mesh, made(mesh) as side:
        side.start()
        t.ok(until(lambda: side.ready()[0] == 200, 15), "ready")
        told, end = 0, time.monotonic() + 4
        while time.monotonic() < end:
            if current(side) != told:
                told = current(side)
                mesh.want(side, f"{told} refused by a test", word="identity")
            time.sleep(0.01)
        issued = mesh.identity.log().count("issued")
        t.ok(3 <= issued <= 7, "another one is asked for, less and less "
             "often", issued)


def redirect_is_probed(t):
    with served() as mesh, made(mesh) as side:
        subprocess.run("nft delete table inet ngx_mesh".split(), check=True)
        side.start()
        t.ok(until(lambda: "redirect of IPv4:" in side.ask()[1]
                   and "nginx:" not in side.ask()[1], 15), "no redirect")
        t.equal(side.ready()[0], 503, "not ready")
        subprocess.run(["nft", "-f", f"{sidecar.TREE}/conf/redirect.nft"],
                       check=True)
        t.ok(until(lambda: side.ready()[0] == 200, 10), "ready with it",
             side.ask())


sys.exit(Tap().run([first_pair, renewal, disk, nobody_answers,
                    stranger_answers, full_disk, refused,
                    redirect_is_probed]))
