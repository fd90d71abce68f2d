#!/usr/bin/python3

# 2,000 services with two pods each: the fill takes seconds, a change goes out
# in milliseconds and is one script call per document.  Limits are generous:
# they tell a quadratic walk from a good one, not one machine from another.

import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from meshtap import Tap, until
from meshwatch import World, pod, service

SERVICES = 2000


def address(n):
    return f"{n // 250}.{n % 250 + 1}"


def objects(n, ready=True):
    name = f"s{n}"
    return [service(name, "10.96." + address(n))] + [
        pod(f"{name}-{i}", f"10.{244 + i}." + address(n), app=name,
            ready=ready, account=name) for i in range(2)]


def evalsha(world):
    found = re.search(r"cmdstat_evalsha:calls=(\d+)",
                      world.client("INFO", "commandstats"))
    return int(found.group(1))


def scale(tap):
    with World() as world:
        for n in range(SERVICES):
            world.put(f"s{n}.yaml", *objects(n))
        start = time.monotonic()
        world.start_watch()
        tap.ok(until(world.synced, 60), "complete", world.log())
        took = time.monotonic() - start
        tap.ok(took < 30, f"2,000 services in {took:.1f} s")
        tap.has(world.log(), "epoch 1 is complete: 12000 documents",
                "12,000 documents")
        memory = int(re.search(r"VmRSS:\s+(\d+)", open(
            f"/proc/{world.processes['watch'].pid}/status",
            encoding="ascii").read()).group(1))
        tap.ok(memory < 150000, f"{memory // 1024} MB of memory")

        listener = world.connect()
        listener("SUBSCRIBE", "mesh:ch:mesh:svc:shop/s77")
        times = []
        for turn in range(20):
            start = time.monotonic()
            world.put("s77.yaml", *objects(77, ready=turn % 2))
            listener.reply()
            times.append(time.monotonic() - start)
        times.sort()
        tap.ok(times[10] < 0.5, f"a change in {times[10] * 1000:.1f} ms "
                                f"(median), {times[-1] * 1000:.1f} ms (worst)")
        listener.close()

        before = evalsha(world)
        start = time.monotonic()
        for n in range(500):
            world.put(f"s{n}.yaml", *objects(n, ready=False))
        tap.ok(until(lambda: world.document("mesh:svc:shop/s499")["ports"][0]
                     ["endpoints"] == [], 30), "500 services change")
        until(lambda: evalsha(world) - before >= 500)
        took = time.monotonic() - start
        calls = evalsha(world) - before
        audits = 10 * (took + 2)
        tap.ok(500 <= calls <= 500 + audits,
               f"{calls} script calls in {took:.1f} s")

        world.client("FLUSHALL")
        start = time.monotonic()
        tap.ok(until(lambda: world.synced() == 2, 30), "a wipe heals",
               world.log())
        took = time.monotonic() - start
        tap.ok(took < 10, f"within {took:.1f} s")


sys.exit(Tap().run([scale]))
