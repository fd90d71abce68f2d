#!/usr/bin/python3

# What may happen to Redis and to the writer: wiped, restarted, tampered with,
# killed, a second writer.  Nothing bad wins, and all heals within 10 s.

import json
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from meshtap import Tap, until
from meshwatch import RedisError, Signer, World, pod, service


def objects(count=20):
    made = [service(f"s{n}", f"10.96.1.{n + 1}") for n in range(count)]
    return made + [pod(f"p{n}", f"10.244.1.{n + 1}", app=f"s{n}")
                   for n in range(count)]


class Filled(World):
    """With 20 services and a writer that has written them."""

    def __init__(self, *options):
        super().__init__()
        self.options = list(options)

    def __enter__(self):
        super().__enter__()
        self.put("all.yaml", *objects())
        self.start_watch()
        if not until(self.synced):
            raise RuntimeError(self.log())
        self.whole = self.documents()
        assert len(self.whole) == 80, len(self.whole)
        return self

    def healed(self, epoch=None):
        """All documents are there again, verified, and complete."""
        return until(lambda: (epoch is None or self.synced() == epoch)
                     and self.synced() and self.documents() == self.whole)


def wiped(tap):
    with Filled() as world:
        world.client("FLUSHALL")
        tap.ok(world.healed(2), "wiped: a new epoch is complete")
        tap.equal(world.read("state/epoch"), "2\n", "wiped: on disk")
        world.client("DEL", "mesh:synced")
        tap.ok(world.healed(2), "wiped: mesh:synced alone comes back")
        world.client("DEL", "mesh:epoch")
        tap.ok(world.healed(3), "wiped: without mesh:epoch all is written")
        world.client("DEL", "mesh:signer")
        tap.ok(world.healed(3), "wiped: mesh:signer comes back as it was")
        world.client("DEL", "mesh:gens")
        tap.ok(world.healed(), "wiped: mesh:gens comes back")
        world.client("SET", "mesh:gens", "x")
        tap.ok(world.healed(), "wiped: mesh:gens of another type, too")
        world.client("DEL", "mesh:epoch")
        world.client("HSET", "mesh:epoch", "a", "b")
        tap.ok(world.healed(), "wiped: and mesh:epoch")


def restarted(tap):
    with Filled() as world:
        world.client.close()
        world.stop("redis", signal.SIGKILL)
        tap.ok(until(lambda: "Redis: " in world.log()), "restart: noticed")
        world.put("new.yaml", service("new", "10.96.2.1"))
        time.sleep(0.5)                   # some attempts fail
        world.start_redis()
        tap.equal(until(lambda: world.synced() == 2), True,
                  "restart: an empty Redis gets a new epoch")
        tap.ok(until(lambda: world.document("mesh:svc:shop/new")),
               "restart: with what changed meanwhile")


def kept(tap):
    """Redis goes away and comes back with what it had."""
    with Filled() as world:
        world.client("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        tap.ok(until(lambda: "connection lost" in world.log()),
               "kept: the connection is lost")
        world.put("new.yaml", service("new", "10.96.2.1"))
        tap.ok(until(lambda: world.document("mesh:svc:shop/new")),
               "kept: goes on")
        tap.equal(world.synced(), 1, "kept: in the same epoch")


def older_copy(tap):
    """Redis comes back from a disk that missed the last writes."""
    with Filled() as world:
        keys = [key for key in world.client("KEYS", "mesh:*")
                if key != "mesh:gens"]
        old = dict(zip(keys, world.client("MGET", *keys)))
        gens = world.client("HGETALL", "mesh:gens")
        world.put("all.yaml", *objects(19), service("s19", "10.96.9.9"))
        tap.ok(until(lambda: world.document("mesh:svc:shop/s19")
                     ["addresses"] == ["10.96.9.9"]), "older copy: a change")
        now = world.documents()
        for key, value in old.items():
            world.client("SET", key, value)
        world.client("HSET", "mesh:gens", *gens)
        tap.ok(until(lambda: world.documents() == now, 12),
               "older copy: put right by the audit")


def forged(tap):
    with Filled() as world:
        key = "mesh:svc:shop/s3"
        value = world.client("GET", key)
        head, body = value.split("\n", 1)
        fake = head + "\n" + body.replace("10.244.1.4", "10.66.66.66")
        world.client("SET", key, fake)
        tap.equal(world.document(key), "forged",
                  "forged: another body is detected")
        tap.ok(world.healed(), "forged: and written over")

        other = world.client("GET", "mesh:svc:shop/s4")
        world.client("SET", key, other)
        tap.equal(world.document(key), "forged",
                  "forged: a value of another key is detected")
        tap.ok(world.healed(), "forged: and written over")

        number = int(head.split()[1])
        world.client("SET", key, value.replace(str(number), str(number + 9)))
        tap.equal(world.document(key), "forged",
                  "forged: another generation is detected")
        world.client("HSET", "mesh:gens", "mesh:svc:shop/s5", "9")
        tap.ok(world.healed(), "forged: and mesh:gens is put right")

        world.client("DEL", key)
        world.client("LPUSH", key, "x")
        tap.ok(world.healed(), "forged: a key of another type is replaced")

        world.client("SET", "mesh:vip:10.6.6.6:80", other)
        world.client("SET", "mesh:other", "not ours")
        tap.ok(until(lambda: world.client("GET", "mesh:vip:10.6.6.6:80")
                     is None), "forged: an address of nobody is removed")
        tap.equal(world.client("GET", "mesh:other"), "not ours",
                  "forged: what is no document is left alone")
        tap.equal(world.synced(), 1, "forged: all in the same epoch")


def vandal_epochs(tap):
    """Whoever sets mesh:epoch without a genuine signer changes nothing."""
    with Filled() as world:
        world.client("SET", "mesh:epoch", "77")
        tap.ok(world.healed(78), "vandal: a higher epoch is outbid")
        world.client("SET", "mesh:epoch", "16777215")
        tap.ok(world.healed(79), "vandal: an absurd one is ignored")
        world.client("SET", "mesh:epoch", "nonsense")
        tap.ok(world.healed(80), "vandal: so is nonsense")
        signer = json.loads(world.client("GET", "mesh:signer"))
        signer["epoch"] = "90"
        world.client("SET", "mesh:signer", json.dumps(signer))
        world.client("SET", "mesh:epoch", "90")
        tap.ok(world.healed(91), "vandal: a signer that nobody signed, too")
        tap.equal(world.processes["watch"].poll(), None,
                  "vandal: the writer never stepped down")


def second_writer(tap):
    """The one with the newest claim goes on, the older one never wins."""
    with Filled() as world:
        os.kill(world.processes["watch"].pid, signal.SIGSTOP)
        world.put("new.yaml", service("new", "10.96.2.1"))
        world.start_watch("second", state="second")
        tap.equal(until(lambda: world.synced() == 2), True,
                  "second: a writer that starts takes over")
        world.whole = world.documents()
        os.kill(world.processes["watch"].pid, signal.SIGCONT)
        code = world.processes["watch"].wait(10)
        tap.equal(code, 1, "second: the older one ends with an error")
        tap.has(world.log(), "a newer writer holds the mesh with epoch 2",
                "second: and says why")
        world.processes.pop("watch")
        tap.ok(world.healed(2), "second: it changed nothing")
        world.put("more.yaml", service("more", "10.96.2.2"))
        tap.ok(until(lambda: world.document("mesh:svc:shop/more")),
               "second: the newer one goes on")


def fence(tap):
    """The script itself refuses an older epoch."""
    with Filled() as world:
        os.kill(world.processes["watch"].pid, signal.SIGSTOP)
        try:
            stats = world.client("INFO", "commandstats")
            tap.ok("evalsha" in stats, "fence: writes are script calls")
            calls = int(re.search(r"evalsha:calls=(\d+)", stats).group(1))
            tap.ok(82 <= calls, "fence: one per change", stats)
        finally:
            os.kill(world.processes["watch"].pid, signal.SIGCONT)
        watcher = world.connect()
        watcher("MONITOR")
        world.put("new.yaml", service("new", "10.96.2.1"))
        line, sha = "", None
        while sha is None:
            line = watcher.reply()
            if "mesh:svc:shop/new" in line:
                found = re.search(r'"EVALSHA" "([0-9a-f]+)"', line)
                sha = found and found.group(1)
        watcher.close()
        value = world.client("GET", "mesh:svc:shop/new")
        said = world.client("EVALSHA", sha, 3, "mesh:epoch", "mesh:gens",
                            "mesh:svc:shop/new", "0", "1", "old", "mesh:ch:x",
                            "0")
        tap.equal(said, 0, "fence: an older epoch is refused")
        tap.equal(world.client("GET", "mesh:svc:shop/new"), value,
                  "fence: and changed nothing")
        listener = world.connect()
        listener("SUBSCRIBE", "mesh:ch:mesh:vip:10.96.2.1:80")
        world.remove("new.yaml")
        tap.equal(len(listener.reply()), 3, "fence: deletions are published")
        listener.close()


def killed(tap):
    with Filled() as world:
        world.stop("watch", signal.SIGKILL)
        world.put("all.yaml", *objects(19))
        world.start_watch()
        tap.equal(until(lambda: world.synced() == 2), True,
                  "killed: the next one claims a new epoch")
        gone = [key for key in world.whole if key not in world.documents()]
        tap.equal(sorted(gone), ["mesh:ip:10.244.1.20", "mesh:svc:shop/s19",
                                 "mesh:vip:10.96.1.20:80",
                                 "mesh:wl:shop/p19"],
                  "killed: what went meanwhile is gone")
        value = world.client("GET", "mesh:svc:shop/s19")
        body, generation = world.signer().open("mesh:svc:shop/s19", value)
        tap.equal((body, generation >> 40), (None, 2),
                  "killed: by tombstones of the new epoch")
        tap.has(world.log(), "4 documents of older epochs are gone",
                "killed: logged")

        world.stop("watch", signal.SIGKILL)
        world.write("state/epoch", "41\n")
        world.start_watch()
        tap.equal(until(lambda: world.synced() == 42), True,
                  "killed: the counter on disk counts")
        world.stop("watch", signal.SIGTERM)
        os.unlink(world.path("state/epoch"))
        world.start_watch()
        tap.equal(until(lambda: world.synced() == 43), True,
                  "killed: and so does mesh:epoch")


def tombstones(tap):
    with Filled("--tombstone-ttl=10") as world:
        key = "mesh:svc:shop/s19"
        world.put("all.yaml", *objects(19))
        tap.ok(until(lambda: world.document(key) is None),
               "tombstones: there is one")
        tap.ok(world.client("HGET", "mesh:gens", key),
               "tombstones: with its generation")
        tap.ok(until(lambda: world.client("GET", key) is None
                     and world.client("HGET", "mesh:gens", key) is None, 25),
               "tombstones: it goes when its time is over")
        tap.equal(world.client("HLEN", "mesh:gens"), 77,
                  "tombstones: mesh:gens does not grow")
        world.put("all.yaml", *objects())
        tap.ok(world.healed(1), "tombstones: what comes back is there again")


def renewed(tap):
    """A leaf of 6 s: the signer is vouched for anew, its key stays."""
    world = World()
    world.identity_options = ["--leaf-ttl=6"]
    with world:
        world.put("all.yaml", *objects(3))
        world.start_watch()
        tap.equal(until(world.synced), 1, "renewed: complete")
        first = world.signer()
        listener = world.connect()
        listener("SUBSCRIBE", "mesh:ch:mesh:signer")
        tap.equal(listener.reply()[1], "mesh:ch:mesh:signer",
                  "renewed: the new signer is published")
        listener.close()
        second = world.signer()
        tap.ok(second.leaf != first.leaf, "renewed: by a new leaf")
        tap.equal((second.epoch, second.raw), (first.epoch, first.raw),
                  "renewed: of the same epoch and key")
        tap.equal(len(world.documents()), 12, "renewed: documents verify")


def starts_early(tap):
    """Nothing else is there yet: it waits, and goes on by itself."""
    world = World()
    try:
        world.put("all.yaml", *objects(3))
        world.write("tokens.csv", "other,system:serviceaccount:a:b,1\n")
        world.start_identity()
        world.start_watch()
        tap.ok(until(lambda: "Redis: cannot connect" in world.log()),
               "early: Redis is not there")
        tap.ok(until(lambda: "no certificate from" in world.log()),
               "early: the token is not known")
        world.write("password", "wrong\n")
        world.start_redis()
        tap.ok(until(lambda: "WRONGPASS" in world.log()),
               "early: a wrong password is told")
        world.write("password", "secret\n")
        world.write("tokens.csv",
                    "tok-watch,system:serviceaccount:ngx-mesh:mesh-watch,1\n")
        tap.ok(until(world.synced, 30), "early: then all is written",
               world.log())
    finally:
        world.__exit__()


def foreign_signer(tap):
    """The test's own eyes: a signer of another CA is none."""
    with Filled() as world, World() as other:
        other.put("all.yaml", *objects(1))
        other.start_watch()
        tap.equal(until(other.synced), 1, "foreign: another mesh")
        value = other.client("GET", "mesh:signer")
        try:
            Signer(value, world.trust())
            tap.ok(False, "foreign: its signer is refused here")
        except Exception as error:        # any reason to refuse will do
            tap.ok(True, f"foreign: its signer is refused here: "
                         f"{type(error).__name__}")
        world.client("SET", "mesh:signer", value)
        world.client("SET", "mesh:epoch", "1")
        tap.ok(world.healed(), "foreign: and written over")
        try:
            tap.ok(world.client("PING"), "foreign: Redis goes on")
        except RedisError as error:
            tap.ok(False, str(error))


sys.exit(Tap().run([wiped, restarted, kept, older_copy, forged, vandal_epochs,
                    second_writer, fence, killed, tombstones, renewed,
                    starts_early, foreign_signer]))
