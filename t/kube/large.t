#!/usr/bin/python3

# A cluster of 10,000 pods (3,000 in short): memory, CPU, and that nothing is
# done when nothing happens.

import os
import re
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from kubeworld import KubeWorld, wait
from meshtap import Tap, until
from meshwatch import pod, service

LONG = os.environ.get("MESH_LONG") == "1"


def large(tap):
    """10,000 pods and 2,000 services: never in memory raw."""
    pods, services = (10000, 2000) if LONG else (3000, 600)
    with KubeWorld() as world:
        fat = pod("x", "10.0.0.1")
        fat["spec"]["containers"][0]["env"] = [
            {"name": f"N{i}", "value": "x" * 60} for i in range(40)]
        fat["metadata"]["managedFields"] = [{"fieldsV1": {
            f"f:{i}": {} for i in range(100)}}]
        raw = 0
        for i in range(services):
            world.api.put(service(f"s{i}", f"10.96.{i // 200}.{i % 200 + 1}"))
        for i in range(pods):
            made = pod(f"p{i}", f"10.{1 + i // 50000}.{i // 200 % 250}."
                       f"{i % 200 + 1}", app=f"s{i % services}")
            made["metadata"]["managedFields"] = \
                fat["metadata"]["managedFields"]
            made["spec"]["containers"][0]["env"] = \
                fat["spec"]["containers"][0]["env"]
            world.api.put(made)
            raw += 6000
        began = time.monotonic()
        world.start_watch("watch", "--admin=127.0.0.1:0")
        tap.ok(until(world.synced, 60), "large: complete", world.log())
        tap.note(f"{pods} pods, {services} services, {raw >> 20} MB raw: "
                 f"{time.monotonic() - began:.1f} s, {world.cpu():.2f} s of "
                 f"CPU, {world.memory() >> 20} MB at most, "
                 f"{world.memory(field='VmRSS') >> 20} MB now")
        tap.ok(world.memory() < 100 * 2**20, "large: at most 100 MB",
               f"{world.memory()} bytes")
        tap.equal(world.client("HLEN", "mesh:gens"),
                  2 * pods + 2 * services + 1,
                  "large: all documents are there, and mesh:synced")
        before = world.cpu()
        wait(3)
        used = world.cpu() - before
        tap.note(f"{used:.2f} s of CPU in 3 s of peace")
        tap.ok(used < 0.6, "large: costs little when nothing happens")
        busy(tap, world, services)


def busy(tap, world, services):
    """100 endpoint changes a second, and what they cost."""
    seconds = 600 if LONG else 8
    pods = {o["metadata"]["name"]: o for o in world.api.objects("Pod")}
    before, began, done = world.cpu(), time.monotonic(), 0
    while time.monotonic() - began < seconds:
        made = pods[f"p{done * 7 % len(pods)}"]
        ready = made["status"]["conditions"][0]
        ready["status"] = "False" if ready["status"] == "True" else "True"
        world.api.put(made)
        done += 1
        wait(max(0, began + done / 100 - time.monotonic()))
    took = time.monotonic() - began
    share = (world.cpu() - before) / took
    end = world.document(f"mesh:svc:shop/s{(done - 1) * 7 % services}")
    tap.ok(end is not None, f"busy: {done / took:.0f} changes/s for "
           f"{took:.0f} s")
    tap.ok(share < (0.5 if LONG else 1.0),
           f"busy: {share * 100:.0f} % of a core")
    port = re.search(r"admin on \S+, port (\d+)", world.log()).group(1)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as r:
        lag = [line for line in r.read().decode().splitlines()
               if line.startswith("mesh_watch_publish_lag")]
    tap.note("event to Redis's confirmation:\n" + "\n".join(lag))
    tap.ok(world.memory() < 100 * 2**20, "busy: at most 100 MB",
           f"{world.memory()} bytes")
    tap.note(f"{world.memory() >> 20} MB at most")


sys.exit(Tap().run([large]))
