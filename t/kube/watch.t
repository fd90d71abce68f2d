#!/usr/bin/python3

# The real meshd watch between an API server and a real Redis: lists and
# watches, what they mean compared with an evaluation of its own, and every
# way in which an API server can let one down.

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from kubeworld import KubeWorld, endpoint_slice, namespace, node, wait
from meshtap import Tap, until
from meshwatch import pod, service


def shop():
    return [namespace("shop"), node("n1", "a"),
            service("cart", "10.96.0.7"),
            pod("cart-1", "10.244.0.5", app="cart", account="cart"),
            pod("cart-2", "10.244.0.6", app="cart", ready=False)]


def fill(tap):
    with KubeWorld() as world:
        world.api.put(*shop())
        world.start_watch()
        tap.ok(until(world.synced), "fill: complete", world.log())
        tap.equal(world.true(), "", "fill: Redis is the truth")
        tap.ok(world.documents(), "fill: and not nothing")
        tap.has(world.log(), "pods: listed, 2 objects", "fill: logged")


def changes(tap):
    with KubeWorld() as world:
        world.api.put(*shop())
        world.start_watch()
        until(world.synced)
        world.api.put(pod("cart-2", "10.244.0.6", app="cart"))
        tap.equal(world.true(), "", "changes: a pod became ready")
        world.api.put(endpoint_slice("cart-x", "cart", "10.244.0.5",
                                     pods=["cart-1"]))
        tap.equal(world.true(), "", "changes: slices go before selectors")
        world.api.put(namespace("shop", opaque_ports="80"))
        tap.equal(world.true(), "", "changes: an annotation")
        world.api.put(node("n1", "b"))
        tap.equal(world.true(), "", "changes: a zone")
        for kind, name in (("EndpointSlice", "cart-x"), ("Pod", "cart-1"),
                           ("Service", "cart"), ("Pod", "cart-2")):
            world.api.delete(kind, name, "shop")
        tap.equal(world.true(), "", "changes: all is gone")
        tap.equal(world.documents(), {}, "changes: nothing is left")
        tap.equal(world.api.count("limit="), 5, "changes: each listed once")


def away(tap):
    """The server is away; what happened meanwhile is found out."""
    with KubeWorld() as world:
        world.api.put(*shop())
        world.start_watch()
        until(world.synced)
        world.api.stop()
        tap.ok(until(lambda: "pods: watch:" in world.log()), "away: noticed",
               world.log())
        before = world.cpu()
        world.api.put(service("new", "10.96.0.9"))
        world.api.delete("Pod", "cart-1", "shop")
        wait(2)
        used = world.cpu() - before
        tap.ok(used < 0.3, f"away: no busy loop ({used:.2f} s of CPU)")
        tap.ok(world.document("mesh:ip:10.244.0.5"),
               "away: the last good state stays")
        world.api.start()
        tap.equal(world.true(), "", "away: it is back")
        tap.equal(world.api.count("limit="), 5,
                  "away: the watches go on, nothing is listed again")
        tap.has(world.log(), "watched again", "away: logged")

        world.api.stop()
        world.api.delete("Service", "new", "shop")
        world.api.put(pod("cart-3", "10.244.0.7", app="cart"))
        world.api.compact()
        world.api.start()
        tap.equal(world.true(), "", "away: and has forgotten")
        tap.ok(world.api.count("limit=") > 5, "away: then it is listed")


def silent(tap):
    """A server that takes connections and says nothing."""
    with KubeWorld() as world:
        world.api.put(*shop())
        world.start_watch()
        until(world.synced)
        world.api.faults.hang = True
        world.api.cut()
        wait(1)
        world.api.put(service("new", "10.96.0.9"))
        world.api.faults.hang = False
        world.api.cut()
        tap.equal(world.true(), "", "silent: goes on when it speaks again")


def missing(tap):
    """EndpointSlices are served by somebody who comes late."""
    with KubeWorld() as world:
        world.api.put(*shop())
        path = "/apis/discovery.k8s.io/v1/endpointslices"
        world.api.faults.missing.add(path)
        world.start_watch()
        wait(3)
        tap.ok(not world.synced(), "missing: not complete without them")
        tap.has(world.log(), "endpointslices: list: status 404",
                "missing: logged")
        asked = world.api.count(path)
        tap.ok(2 <= asked <= 12, f"missing: asked for {asked} times in 3 s")
        world.api.put(endpoint_slice("cart-x", "cart", "10.244.0.5",
                                     pods=["cart-1"]))
        world.api.faults.missing.clear()
        tap.ok(until(world.synced, 5), "missing: found within 5 s",
               world.log())
        tap.equal(world.true(), "", "missing: and read")


def refusals(tap):
    with KubeWorld() as world:
        api = world.api
        api.put(*shop())
        status = json.dumps({"kind": "Status", "code": 429, "message":
                             "storage is (re)initializing"}).encode()
        api.faults.answers += [
            ("/pods?limit", 429, {"Retry-After": "1"}, status),
            ("/services?limit", 503, {}, b"<html>"),
            ("/nodes?limit", 200, {}, b'{"kind":"NodeList","items":['),
            ("/namespaces?limit", 200, {}, b'{"items":[]}'),
            ("/endpointslices?limit", 200, {}, b'[]')]
        began = time.monotonic()
        world.start_watch()
        tap.ok(until(world.synced), "refusals: complete", world.log())
        pods = [at - began for at, _, path, _ in api.requests
                if "/pods?limit" in path]
        tap.ok(pods[1] - pods[0] >= 1,
               f"refusals: Retry-After is kept ({pods[1] - pods[0]:.2f} s)")
        for text in ("pods: list: status 429: storage is (re)initializing",
                     "services: list: status 503",
                     "nodes: list: the list ends in the middle",
                     "namespaces: list: a list without a version",
                     "endpointslices: list: byte 0x5b is not expected"):
            tap.has(world.log(), text, f"refusals: {text}")

        api.faults.forbidden.add("/api/v1/pods")
        api.compact()
        api.cut()
        api.put(pod("cart-9", "10.244.0.9", app="cart"))
        tap.ok(until(lambda: "status 403" in world.log()), "refusals: 403")
        tap.ok(world.document("mesh:ip:10.244.0.5"),
               "refusals: what was known stays")
        api.faults.forbidden.clear()
        tap.equal(world.true(), "", "refusals: and it heals")


def garbage(tap):
    """Lines that no API server sends."""
    with KubeWorld() as world:
        world.api.put(*shop())
        world.start_watch()
        until(world.synced)
        for line in ("\n\n  \n", "null\n", "<html>\n", "}\n",
                     '{"type":"ADDED"}\n', '{"type":"NEW","object":{}}\n',
                     '{"type":"ERROR","object":{"code":500,"message":"x"}}\n',
                     '{"type":"BOOKMARK","object":{}}\n',
                     '{"type":"ADDED","object":{"kind":"Pod","apiVersion":'
                     '"v1","metadata":{"name":"a\\u0000b","namespace":"shop",'
                     '"resourceVersion":"1"}}}\n', '{"type":"ADD'):
            world.api.faults.garbage += [line] * 2
            world.api.put(pod("cart-2", "10.244.0.6", app="cart"))
            world.api.put(node("n1", "c"))
            wait(0.1)
        world.api.cut()
        world.api.put(pod("cart-4", "10.244.0.8", app="cart"))
        tap.equal(world.true(), "", "garbage: ends in the truth")


def bad_objects(tap):
    with KubeWorld() as world:
        world.api.put(*shop())
        broken = service("bad", "10.96.0.66")
        broken["spec"]["ports"][0]["port"] = 70000
        world.api.put(broken)
        world.start_watch()
        tap.ok(until(world.synced), "bad: others are written")
        tap.has(world.log(), "Service/shop/bad: spec.ports[0].port",
                "bad: named with its path")
        tap.equal(world.document("mesh:svc:shop/bad"), None, "bad: left out")
        broken = service("cart", "10.96.0.7")
        broken["spec"]["clusterIPs"] = ["x"]
        world.api.put(broken, pod("cart-2", "10.244.0.6", app="cart"))
        tap.ok(until(lambda: len((world.document("mesh:svc:shop/cart") or
                                  {"ports": [{"endpoints": []}]})["ports"][0]
                                 ["endpoints"]) == 2),
               "bad: the last good version stays, and follows its pods")
        world.api.put(service("bad", "10.96.0.66"),
                      service("cart", "10.96.0.8"))
        tap.equal(world.true(), "", "bad: good again")


def metrics(text):
    """{name and labels: number}, and what is no metric."""
    found, wrong, typed = {}, [], set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            name, number = line.rsplit(" ", 1)
            base = name.split("{")[0]
            for end in ("_bucket", "_sum", "_count"):
                if base.endswith(end) and base[:-len(end)] in typed:
                    base = base[:-len(end)]
            if base not in typed or name in found:
                wrong.append(line)
            found[name] = float(number)
    return found, wrong


def admin(tap):
    with KubeWorld() as world:
        def get(path):
            try:
                with urllib.request.urlopen(
                        f"http://127.0.0.1:{port}/{path}", timeout=5) as r:
                    return r.status, r.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        world.api.put(*shop())
        world.api.faults.missing.add("/api/v1/pods")
        world.start_watch("watch", "--admin=127.0.0.1:0")
        until(lambda: "admin on" in world.log())
        port = re.search(r"admin on \S+, port (\d+)", world.log()).group(1)
        tap.equal(get("live"), (200, "live\n"), "admin: /live")
        tap.equal(get("ready"), (503, "not all objects have been read\n"),
                  "admin: /ready says what is missing")
        world.api.faults.missing.clear()
        until(world.synced)
        tap.ok(until(lambda: get("ready")[0] == 200), "admin: /ready")
        world.api.put(pod("cart-2", "10.244.0.6", app="cart"))
        world.true()
        found, wrong = metrics(get("metrics")[1])
        tap.equal(wrong, [], "admin: /metrics has types, and each once")
        want = {"mesh_watch_leader": 1, "mesh_watch_epoch": 1,
                "mesh_watch_synced": 1, "mesh_watch_queue_documents": 0,
                "mesh_watch_documents": len(world.documents()),
                'mesh_kube_objects{resource="pods"}': 2,
                'mesh_kube_watching{resource="pods"}': 1,
                'mesh_kube_lists_total{resource="pods"}': 1,
                'mesh_kube_events_total{resource="pods"}': 1,
                "mesh_watch_publish_lag_seconds_count": 1}
        tap.equal({name: found.get(name) for name in want}, want,
                  "admin: and what happened")
        tap.equal(get("other")[0], 404, "admin: nothing else")


def bursts(tap):
    """A document is written ten times a second at most."""
    with KubeWorld() as world:
        world.api.put(*shop())
        world.start_watch()
        until(world.synced)
        listener = world.connect()
        listener("SUBSCRIBE", "mesh:ch:mesh:svc:shop/cart")
        began = time.monotonic()
        for i in range(300):
            world.api.put(pod("cart-1", "10.244.0.5", app="cart",
                              ready=i % 2 == 0))
            wait(0.005)
        took = time.monotonic() - began
        tap.equal(world.true(), "", "bursts: the truth")
        world.client("PUBLISH", "mesh:ch:mesh:svc:shop/cart", "end")
        count = 0
        while listener.reply()[2] != "end":
            count += 1
        tap.ok(count <= 10 * took + 3,
               f"bursts: 300 changes in {took:.1f} s, {count} writes")
        listener.close()


def latency(tap):
    """From the API server's event to Redis's message."""
    with KubeWorld() as world:
        world.api.put(*shop())
        world.start_watch()
        until(world.synced)
        listener = world.connect()
        listener("SUBSCRIBE", "mesh:ch:mesh:svc:shop/cart")
        times = []
        for i in range(40):
            began = time.monotonic()
            world.api.put(pod("cart-1", "10.244.0.5", app="cart",
                              ready=i % 2 == 1))
            listener.reply()
            times.append(1000 * (time.monotonic() - began))
            wait(0.03)
        listener.close()
        times.sort()
        tap.note("ms: " + " ".join(f"{ms:.0f}" for ms in times))
        tap.ok(times[len(times) // 2] < 1000,
               f"latency: median {times[len(times) // 2]:.0f} ms")


sys.exit(Tap().run([fill, changes, away, silent, missing, refusals, garbage,
                    bad_objects, admin, bursts, latency]))
