#!/usr/bin/python3

# mesh-agent with real Redis, meshd watch and meshd identity, the module in
# nginx: what is asked for arrives and stays right; nothing that Redis holds
# or lacks takes anything away.

import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import sidecar

sidecar.isolate()

import mesh as rest
from meshpki import Authority, text_of
from meshtap import Tap, until
from mesh import Mesh, Writer, dump, pod, service
from sidecar import Sidecar

rest.network()

mesh = Mesh().__enter__()
side = Sidecar("--log-level=info", "--redis-user=agent",
               template=rest.template("127.0.0.1:6379"))
side.options["redis-password-file"] = side.give("password", "agent\n")


def knows(*parts, seconds=5.0):
    """The state says all of it."""
    return until(lambda: all(part in dump(side) for part in parts), seconds)


def lacks(*parts, seconds=5.0):
    return until(lambda: not any(part in dump(side) for part in parts),
                 seconds)


def starts(t):
    mesh.objects("cart", service("cart", "10.96.0.20"))
    mesh.objects("cart-1", pod("cart-1", "cart", "10.244.1.1"))
    mesh.objects("web-1", pod("web-1", "web", "10.244.0.6", account="web"))
    mesh.start()
    side.give("trust.pem", mesh.trust())
    side.start()
    t.ok(until(lambda: side.ready()[0] == 200, 15), "ready",
         f"{side.ready()} {side.ask()} {side.log()}")
    t.ok(knows("self shop/web-1;", "complete on;", "address 10.244.0.6;",
               "node node-1;"), "own workload and mesh:synced", dump(side))
    t.ok("mesh_service" not in dump(side), "no service that nobody asked for")
    t.equal(oct(os.stat(f"{side.run}/identity/current/key.pem").st_mode)[-3:],
            "400", "the key is the sidecar's alone")


def answers(t):
    mesh.want(side, "10.96.0.20:80")
    t.ok(knows("mesh_service shop/cart:80", "address 10.96.0.20:80;",
               "endpoint 10.244.1.1:8080 workload=shop/cart-1"),
         "a service is asked for", dump(side) + side.log()[-3000:])
    t.has(dump(side), "identity spiffe://cluster.local/ns/shop/sa/cart;",
          "its workload has the identity")

    mesh.want(side, "10.244.1.1:9999")
    t.ok(knows("address 10.244.1.1;"), "a pod is asked for")
    t.has(dump(side), "port 8080 http1;", "with its ports")

    mesh.want(side, "10.96.0.99:80")
    t.ok(knows("nobody 10.96.0.99:80;"), "nobody has an address")

    mesh.want(side, "nonsense")
    t.ok(side.logged("which is no address"), "nonsense is said to be")


def follows(t):
    mesh.objects("cart-2", pod("cart-2", "cart", "10.244.1.2"))
    t.ok(knows("endpoint 10.244.1.2:8080"), "an endpoint comes")
    mesh.objects("cart-1", pod("cart-1", "cart", "10.244.1.1", ready=False))
    t.ok(lacks("endpoint 10.244.1.1:8080"), "an endpoint goes")
    mesh.objects("late", service("late", "10.96.0.99"))
    t.ok(knows("mesh_service shop/late:80") and lacks("nobody 10.96.0.99"),
         "what was nobody's is a service", dump(side))
    mesh.gone("late")
    t.ok(lacks("mesh_service shop/late:80"), "a service goes", dump(side))

    before = side.generation()
    for n in range(50):
        mesh.objects(f"many-{n}", pod(f"many-{n}", "cart", f"10.244.2.{n}"))
    t.ok(knows("endpoint 10.244.2.49:8080"), "fifty endpoints come")
    t.ok(side.generation() - before < 100, "in fewer writes than twice that",
         side.generation() - before)
    for n in range(50):
        mesh.gone(f"many-{n}")
    t.ok(lacks("endpoint 10.244.2."), "and go")


def refuses_lies(t):
    """Every value that the genuine writer did not write for this key."""
    key = "mesh:svc:shop/cart"
    good, old = mesh.get(key), dump(side)
    generation = mesh.generation(key)
    newer = generation + 1000
    head, body = good.split(b"\n", 1)
    evil = body.replace(b"10.244.1.2", b"10.66.6.6")
    word, _, signature = head.split()
    stranger = Writer(Authority.root("stranger").issuer(), generation >> 40)

    lies = {
        "a body that was changed": head + b"\n" + evil,
        "a generation that was changed":
            b"%s %d %s\n%s" % (word, newer, signature, body),
        "the document of another key": mesh.get("mesh:wl:shop/cart-2"),
        "a stranger's signature": stranger.seal(key, newer & 0xffffff, evil),
        "an unsigned tombstone": b"%s %d %s\nnull" % (word, newer, signature),
        "another layout": good.replace(b"ngx-mesh/1 ", b"ngx-mesh/9 ", 1),
        "no document": b"evil",
        "a truncated document": good[:len(good) // 2],
        "zeros": b"\0" * 1000,
        "nothing": b"",
    }
    mesh.watch.kill()                     # it would put it right at once
    for what, value in lies.items():
        before = side.log().count("is refused")
        mesh.put(key, value, newer)
        refused = until(lambda: side.log().count("is refused") > before)
        t.ok(refused and lacks("10.66.6.6", seconds=0)
             and "endpoint 10.244.1.2:8080" in dump(side),
             f"{what} is refused", side.log()[-600:])

    mesh.put("mesh:signer", stranger.signer())
    mesh.put(key, stranger.seal(key, 99999, evil), newer)
    t.ok(side.logged('"mesh:signer" is refused'), "a stranger's signer too")
    t.ok("10.66.6.6" not in dump(side), "and what it signed")
    mesh.watch.start()
    t.ok(knows("endpoint 10.244.1.2:8080"), "the truth stays", dump(side))
    t.equal([line for line in dump(side).splitlines()
             if "endpoint" in line],
            [line for line in old.splitlines() if "endpoint" in line],
            "word for word")
    until(lambda: mesh.generation(key) >> 40 > generation >> 40
          and mesh.get("mesh:synced"))


def refuses_the_past(t):
    """Replays: an older generation, an older epoch, by genuine hands."""
    key = "mesh:svc:shop/cart"
    old = mesh.get(key)
    mesh.objects("cart-3", pod("cart-3", "cart", "10.244.1.3"))
    t.ok(knows("endpoint 10.244.1.3:8080"), "a newer generation")
    mesh.watch.kill()
    mesh.put(key, old, mesh.generation(key) + 5)
    t.ok(side.logged("is not newer than"), "an older one is refused",
         side.log()[-500:])
    t.has(dump(side), "endpoint 10.244.1.3:8080", "and changes nothing")

    epoch = mesh.generation(key) >> 40
    writer = Writer(Authority.of_cluster(mesh.path("ca")), epoch - 1)
    mesh.put("mesh:signer", writer.signer())
    mesh.put(key, writer.seal(key, 77777, old.split(b"\n", 1)[1]),
             ((epoch - 1) << 40) + 77777)
    mesh.cli("PUBLISH", "mesh:ch:mesh:signer", "x")
    t.ok(side.logged(f"epoch {epoch - 1} is older than"),
         "an older epoch is refused", side.log()[-500:])
    t.has(dump(side), "endpoint 10.244.1.3:8080", "and changes nothing")

    for uri in ("spiffe://cluster.local/ns/shop/sa/web",
                "spiffe://other.org/ns/ngx-mesh/sa/mesh-watch"):
        other = Writer(Authority.of_cluster(mesh.path("ca")), epoch + 9, uri)
        before = side.log().count('"mesh:signer" is refused')
        mesh.put("mesh:signer", other.signer())
        mesh.cli("PUBLISH", "mesh:ch:mesh:signer", "x")
        t.ok(until(lambda: side.log().count('"mesh:signer" is refused')
                   > before), f"{uri} may not sign")
    mesh.watch.start()
    mesh.objects("cart-4", pod("cart-4", "cart", "10.244.1.4"))
    t.ok(knows("endpoint 10.244.1.4:8080", seconds=15), "all heals",
         dump(side) + mesh.watch.log()[-1500:] + side.log()[-1500:])


def distrusts(t):
    """A root that is trusted no more takes along who signed by it."""
    key = "mesh:svc:shop/cart"
    body = mesh.get(key).split(b"\n", 1)[1]
    epoch = mesh.generation(key) >> 40
    root, other = mesh.trust(), Authority.root("other")
    before = side.log().count('"mesh:signer" is refused')

    def trust(text):
        """A bundle is in force with the next pair."""
        mesh.write("ca/trust.crt", text)
        t.ok(until(lambda: text == subprocess.run(
            ["curl", "-sk", "https://127.0.0.1:8443/v1/trust"],
            stdout=subprocess.PIPE, check=False).stdout.decode()),
            "identity serves a new bundle")
        number = os.readlink(f"{side.run}/identity/current")
        mesh.want(side, f"{number} refused by a test", word="identity")
        t.ok(until(lambda: side.read("identity/current/trust.pem").decode()
                   == text), "and the agent has it", side.log()[-500:])

    mesh.watch.kill()
    trust(root + text_of(other.cert))
    writer = Writer(other.issuer(), epoch + 1)
    mesh.put("mesh:signer", writer.signer())
    for counter, address in ((500, b"10.1.1.4"), (501, b"10.1.1.5")):
        if counter == 501:
            trust(root)
        mesh.put(key, writer.seal(key, counter,
                                  body.replace(b"10.244.1.4", address)),
                 ((epoch + 1) << 40) + counter)
        until(lambda: address.decode() in dump(side), 2)
    t.has(dump(side), "endpoint 10.1.1.4:8080", "a trusted one may write")
    t.ok("10.1.1.5" not in dump(side), "but not for longer", dump(side))
    t.ok(until(lambda: side.log().count('"mesh:signer" is refused')
               > before), "which is said")
    mesh.watch.start()
    t.ok(knows("endpoint 10.244.1.4:8080", seconds=20)
         and lacks("10.1.1.4"), "the truth comes back",
         dump(side) + side.log()[-1500:])


def outlives_redis(t):
    before = dump(side)
    mesh.cli("FLUSHALL")
    mesh.redis.kill()
    mesh.want(side, "10.96.0.77:80")
    t.ok(side.logged("Redis is gone"), "Redis is gone")
    t.equal(side.ready()[0], 200, "still ready")
    t.ok("nobody 10.96.0.77" not in dump(side),
         "and nobody's address is asserted")
    t.equal([line for line in dump(side).splitlines() if "endpoint" in line],
            [line for line in before.splitlines() if "endpoint" in line],
            "the state stays")
    mesh.redis.start()                    # empty
    mesh.objects("cart-5", pod("cart-5", "cart", "10.244.1.5"))
    t.ok(knows("endpoint 10.244.1.5:8080", seconds=10),
         "within 10 s the news are there again", side.log()[-2000:])
    mesh.want(side, "10.96.0.77:80")
    t.ok(knows("nobody 10.96.0.77:80;", seconds=15), "and answers")


def outlives_the_epoch(t):
    """Redis and what the writer keeps are lost at once: it is believed on."""
    mesh.cli("FLUSHALL")
    for program in (mesh.watch, mesh.redis):
        program.kill()
    shutil.rmtree(mesh.path("epoch"))
    mesh.watch.words = mesh.watch.words[:-1]       # --epoch-min: by the clock
    for program in (mesh.redis, mesh.watch):
        program.start()
    mesh.objects("cart-5b", pod("cart-5b", "cart", "10.244.1.55"))
    t.ok(knows("endpoint 10.244.1.55:8080", seconds=15), "news arrive",
         side.log()[-1500:])
    mesh.gone("cart-5b")
    t.ok(lacks("10.244.1.55"), "and go")


def starts_from_disk(t):
    """Everything else is dead, the sidecar starts anew."""
    for program in (mesh.watch, mesh.redis, mesh.identity):
        program.kill()
    before = [line for line in dump(side).splitlines() if "endpoint" in line]
    t.equal(side.stop(), 0, "the sidecar ends")
    side.start()
    t.ok(until(lambda: side.ready()[0] == 200, 10), "and is ready again",
         f"{side.ready()} {side.ask()} {side.log()[-3000:]}")
    t.equal([line for line in dump(side).splitlines() if "endpoint" in line],
            before, "with what it knew")
    t.has(dump(side), "complete on;", "completely")

    # and the agent alone, killed: nginx notices nothing

    master, workers, agent = side.master(), side.workers(), side.agent()
    os.kill(agent, signal.SIGKILL)
    t.ok(until(lambda: side.agent() not in (0, agent)
               and side.ask()[0] == 200, 10), "ready after kill -9",
         f"{side.ask()} {side.log()[-2000:]}")
    t.equal((side.master(), side.workers()), (master, workers),
            "nginx goes on")

    mesh.identity.start()
    mesh.redis.start()
    mesh.watch.start()
    mesh.objects("cart-6", pod("cart-6", "cart", "10.244.1.6"))
    t.ok(knows("endpoint 10.244.1.6:8080", seconds=15), "all is back")


def mends_documents(t):
    """A document that is damaged on disk is not what the writer signed."""
    t.equal(side.stop(), 0, "the sidecar ends")
    name = "documents/mesh%3Asvc%3Ashop%2Fcart"
    good = side.read(name)
    t.ok(b"10.244.1.6" in good, "it is on disk")
    side.own(name, good.replace(b"10.244.1.6", b"10.66.6.66"))
    side.start()
    t.ok(until(lambda: side.read(name) == good, 20),
         "it is replaced by the one in Redis", side.log()[-1500:])
    t.ok(knows("endpoint 10.244.1.6:8080") and lacks("10.66.6.66"),
         "in the state too", dump(side))


def mends_the_file(t):
    """A damaged state file is refused by nginx and replaced by the agent."""
    path = os.path.join(side.run, "state")
    good = side.read("state")
    cases = [("truncated", good[:100]), ("empty", b""),
             ("flipped", good[:200] + bytes([good[200] ^ 1]) + good[201:]),
             ("of an older layout", good[:8] + b"\0\0\0\0" + good[12:])]
    for what, data in cases:
        text = dump(side)
        side.own("state.evil", data)
        os.rename(os.path.join(side.run, "state.evil"), path)
        t.ok(until(lambda: "generation" in dump(side), 10),
             f"{what}: there is a good one again")
        t.equal(dump(side).splitlines()[1:], text.splitlines()[1:],
                f"{what}: it says the same")
    t.equal(side.ready()[0], 200, "ready all the while")


def nginx_follows(t):
    """The master dies: Redis is reached through the new worker."""
    worker = side.workers()[0]
    os.kill(side.master(), signal.SIGKILL)
    t.ok(until(lambda: side.workers() and worker not in side.workers()
               and not side.orphans()), "new master, no orphan")
    mesh.objects("cart-7", pod("cart-7", "cart", "10.244.1.7"))
    t.ok(knows("endpoint 10.244.1.7:8080"), "news arrive")
    t.ok(until(lambda: side.ready()[0] == 200), "ready")


def reloads(t):
    """A template that changes is tested, used, and refused if it is bad."""
    worker, master = side.workers()[0], side.master()
    good = rest.template("127.0.0.1:6379")
    side.give("nginx.conf.tmpl", good.replace("http {", "http { nonsense;"))
    os.kill(side.init(), signal.SIGHUP)
    t.ok(side.logged('unknown directive "nonsense"'), "nginx -t refuses it")
    t.equal((side.master(), side.workers()[0]), (master, worker),
            "nginx goes on")
    t.ok(b"nonsense" not in side.read("nginx.conf"), "the good file stays")

    side.give("nginx.conf.tmpl", good.replace("${nonsense}", "")
              .replace("events {", "events {\n    multi_accept on;"))
    os.kill(side.init(), signal.SIGHUP)
    t.ok(until(lambda: side.workers() and worker not in side.workers()),
         "a good one: a new worker")
    t.equal(side.master(), master, "of the same master")
    t.ok(b"multi_accept" in side.read("nginx.conf"), "nginx.conf is new")
    mesh.objects("cart-8", pod("cart-8", "cart", "10.244.1.8"))
    t.ok(knows("endpoint 10.244.1.8:8080"), "news arrive")
    t.ok(until(lambda: side.ready()[0] == 200), "ready")

    side.give("nginx.conf.tmpl", "load_module ${evil};")
    os.kill(side.init(), signal.SIGHUP)
    t.ok(side.logged('nginx.conf.tmpl:1: unknown name "evil"'),
         "a bad template is named by file and line")


def renders(t):
    done = subprocess.run(
        [os.path.join(sidecar.BUILD, "meshctl"), "render", "--namespace=shop",
         "--pod=web-1", "--service-account=web",
         f"--documents={side.run}/documents",
         f"--conf-dir={sidecar.TREE}/conf", "--redis=10.96.0.5:6379"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode()
    t.equal(done.returncode, 0, "meshctl render")
    t.has(text, "mesh_identity      spiffe://cluster.local/ns/shop/sa/web;",
          "nginx.conf")
    t.has(text, "endpoint=10.96.0.5:6379", "the way to Redis")
    t.has(text, "# mesh:svc:shop/cart  generation ", "origins")
    t.has(text, "endpoint 10.244.1.8:8080 workload=shop/cart-8", "state")


def follows_far(t):
    """The epochs that a vandal makes are high, but epochs all the same."""
    mesh.cli("SET", "mesh:epoch", "8388607")
    t.ok(until(lambda: mesh.generation("mesh:synced") >> 40 == 8388608, 15),
         "a high one", mesh.watch.log()[-500:])
    t.ok(side.logged("writer of epoch 8388608"), "is the writer's")
    for name in ("cart-9", "cart-10"):
        address = f"10.244.1.{name[5:]}"
        mesh.objects(name, pod(name, "cart", address))
        t.ok(knows(f"endpoint {address}:8080"), "news arrive",
             side.log()[-500:])


def ends(t):
    t.equal(side.stop(), 0, "SIGTERM: exit code 0")


tap = Tap()
try:
    code = tap.run([starts, answers, follows, refuses_lies, refuses_the_past,
                    distrusts, outlives_redis, outlives_the_epoch,
                    starts_from_disk, mends_documents, mends_the_file,
                    nginx_follows, reloads, renders, follows_far, ends])
finally:
    side.__exit__()
    mesh.__exit__()
sys.exit(code)
