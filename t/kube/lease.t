#!/usr/bin/python3

# Three meshd watch, one Lease, one Redis: one writes, another one soon writes
# when that dies, is stopped or cut off, and a stale one writes nothing.

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from kubeworld import KubeWorld, wait
from meshtap import Tap, until
from meshwatch import pod, service

NAMES = ("a", "b", "c")


class Three(KubeWorld):
    def __enter__(self):
        super().__enter__()
        self.api.put(*[service(f"s{n}", f"10.96.1.{n + 1}")
                       for n in range(20)],
                     *[pod(f"p{n}", f"10.244.1.{n + 1}", app=f"s{n}")
                       for n in range(20)])
        self.count = 20
        for name in NAMES:
            self.start_watch(name)
        if not until(self.synced):
            raise RuntimeError(self.log("a"))
        return self

    def lease(self):
        return self.api.leases["ngx-mesh", "mesh-watch"]["spec"]

    def leader(self):
        """The one whose log says so last."""
        found = ""
        for name in NAMES:
            lines = [line for line in self.log(name).splitlines()
                     if "the leader, transition" in line
                     or "not the leader any more" in line]
            if lines and "the leader, transition" in lines[-1] and \
                    name in self.processes:
                found += name
        return found

    def change(self):
        self.count += 1
        self.api.put(pod("p0", f"10.244.9.{self.count % 250 + 1}", app="s0"))

    def taken_over(self, epoch, seconds=15):
        """Seconds until a newer epoch is complete, under load."""
        began = time.monotonic()
        while time.monotonic() - began < seconds + 3:
            self.change()
            if (self.synced() or 0) > epoch:
                return time.monotonic() - began
            wait(0.1)
        return 99.0


def one_writes(tap):
    with Three() as world:
        tap.equal(world.true(), "", "one: Redis is the truth")
        tap.equal(len(world.leader()), 1, "one: one leader")
        spec = world.lease()
        tap.equal((spec["leaseDurationSeconds"], spec["leaseTransitions"]),
                  (9, 0), "one: the Lease")
        wait(5)
        tap.ok(2 <= len(world.api.lease_puts) <= 6,
               f"one: {len(world.api.lease_puts)} writes of it in 5 s")
        tap.equal({who for _, who, _ in world.api.lease_puts
                   if who == spec["holderIdentity"]},
                  {spec["holderIdentity"]}, "one: by its holder")
        tap.equal(world.synced(), 1, "one: one epoch")


def killed(tap):
    with Three() as world:
        leader = world.leader()
        world.stop(leader, signal.SIGKILL)
        took = world.taken_over(1)
        tap.ok(took <= 15, f"killed: another one writes after {took:.1f} s")
        tap.equal(world.true(), "", "killed: Redis is the truth")
        tap.equal(world.lease()["leaseTransitions"], 1, "killed: a new term")
        tap.ok(world.leader() not in ("", leader), "killed: by another")
        world.start_watch(leader)
        wait(1)
        tap.equal(world.synced(), 2, "killed: who comes back follows")


def stopped(tap):
    """SIGSTOP past its Lease, then SIGCONT, while changes come."""
    with Three() as world:
        leader = world.leader()
        world.processes[leader].send_signal(signal.SIGSTOP)
        took = world.taken_over(1)
        tap.ok(took <= 15, f"stopped: another one writes after {took:.1f} s")
        second = world.leader()
        world.processes[leader].send_signal(signal.SIGCONT)
        for _ in range(30):
            world.change()
            wait(0.05)
        tap.equal(world.true(), "", "stopped: the stale one spoils nothing")
        tap.equal(world.synced(), 2, "stopped: the newer epoch stays")
        tap.ok(until(lambda: "not the leader any more" in world.log(leader)),
               "stopped: it knows now", world.log(leader))
        tap.equal(world.processes[leader].poll(), None,
                  "stopped: and follows")

        # and it can lead again

        for name in NAMES:
            if name != leader:
                world.stop(name)
        took = world.taken_over(2)
        tap.ok(took <= 15, f"stopped: it leads again after {took:.1f} s")
        tap.equal(world.true(), "", "stopped: with the truth")
        tap.ok(second != leader, "stopped: two leaders in turn")


def given_up(tap):
    with Three() as world:
        leader = world.leader()
        code = world.stop(leader)
        took = world.taken_over(1)
        tap.equal(code, 0, "given up: it ends in order")
        tap.ok(took <= 4, f"given up: another one writes after {took:.1f} s")
        tap.equal(world.true(), "", "given up: Redis is the truth")


def cut_off(tap):
    """Leader without API server: it stops writing in time, and nobody else
    can lead; Redis keeps what it has."""
    with Three() as world:
        leader = world.leader()
        world.api.stop()
        tap.ok(until(lambda: "not the leader any more" in world.log(leader),
                     12), "cut off: it stops writing")
        tap.equal(world.synced(), 1, "cut off: Redis keeps what it has")
        tap.ok(world.document("mesh:svc:shop/s3"), "cut off: all of it")
        world.api.start()
        took = world.taken_over(1)
        tap.ok(took <= 10, f"cut off: and goes on after {took:.1f} s")
        tap.equal(world.true(), "", "cut off: Redis is the truth")


def unwritable(tap):
    """No right to write the Lease; then a Redis that is wiped."""
    with KubeWorld() as world:
        path = "/apis/coordination.k8s.io/v1/namespaces/ngx-mesh/leases"
        world.api.faults.forbidden.add(path)
        world.api.put(service("s", "10.96.0.1"))
        world.start_watch()
        tap.ok(until(lambda: "mesh-watch: status 403" in world.log()),
               "unwritable: logged", world.log())
        wait(1)
        tap.ok(not world.synced(), "unwritable: nothing is written")
        world.api.faults.forbidden.clear()
        world.api.faults.missing.add(path)
        tap.ok(until(lambda: "such a namespace?" in world.log()),
               "unwritable: no namespace", world.log())
        before = world.api.count("/leases")
        wait(2)
        asked = world.api.count("/leases") - before
        tap.ok(asked <= 12, f"unwritable: {asked} requests in 2 s")
        world.api.faults.missing.clear()
        tap.equal(world.true(), "", "unwritable: with the right it is")
        world.client("FLUSHALL")
        tap.equal(world.true(), "", "unwritable: a wiped Redis is filled")


sys.exit(Tap().run([one_writes, killed, stopped, given_up, cut_off,
                    unwritable]))
