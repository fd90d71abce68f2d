#!/usr/bin/python3 -B

"""
Live without reload: a thousand changes of endpoints, leafs that are renewed
every few seconds and a change of the root, all under load.  Sidecars have two
workers here.
"""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "lib"))

import meshpki
import meshtap
import meshzoo

from mesh_local import client
from mesh_local import manifests

CHANGES = 1000
PAUSE = 0.01                              # s between two, at least
TTL = 7                                   # s: a new leaf every 5 s at 70 %
RATE = 200                                # requests a second

MANY = {
    "apiVersion": "v1", "kind": "Service",
    "metadata": {"name": "many", "namespace": "zoo"},
    "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
}

zoo = meshzoo.Zoo()


def endpoint_slice(indexes):
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {"name": "many-1", "namespace": "zoo", "labels": {
            "kubernetes.io/service-name": "many"}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [zoo.address("zoo/http", 4, index)],
             "conditions": {"ready": True},
             "targetRef": {"kind": "Pod", "namespace": "zoo",
                           "name": zoo.pod("zoo/http", index).split("/")[1]}}
            for index in indexes],
    }


def apply(*objects):
    checked = [one for obj in objects
               for one in manifests.load_text(json.dumps(obj), "live.t")]
    client.Cluster(zoo.root).call("apply", objects=checked, wait=None)


def workers():
    """pids of every sidecar's nginx processes: a reload changes them"""
    return {(app, index): sorted(zoo.pids(app, "nginx:", index))
            for app, pods in zoo.names.items()
            for index, pod in enumerate(pods)
            if pod["meshed"] and app != "zoo/impostor"}


def none_failed(t, result, what):
    t.note(f"{what}: {result['sent']} sent, {result['failed']} failed")
    return t.ok(result["sent"] > 0 and result["failed"] == 0,
                f"{what}: none of the requests failed",
                "\n".join(str(one) for one in result["failures"][:10]))


def thousand_changes(t):
    apply(MANY, endpoint_slice([0, 1]))
    ready = meshtap.until(lambda: zoo.ask(
        "zoo/client", "http", f"{zoo.vip('zoo/many')}:80", "up")[0], 15)
    t.ok(ready, "a service of slices is reached")

    before = workers()
    first = zoo.metrics("zoo/client").sum("mesh_state_generation")
    load = zoo.load("zoo/client", "--http", "http://many.zoo/", "--rate",
                    str(RATE), "--connections", "8", "--fresh", "20")
    sets = ([0], [1], [0, 1])
    start = time.monotonic()

    for n in range(CHANGES):
        apply(endpoint_slice(sets[n % len(sets)]))
        time.sleep(max(0, start + (n + 1) * PAUSE - time.monotonic()))

    took = time.monotonic() - start
    time.sleep(1)
    result = load.stop()

    t.ok(True, f"{CHANGES} changes in {took:.1f} s")
    none_failed(t, result, "under 1,000 changes")
    t.equal(workers(), before, "no nginx was reloaded")
    last = zoo.metrics("zoo/client").sum("mesh_state_generation")
    t.ok(last - first >= 50, f"the client's workers took {last - first:.0f} "
         "states meanwhile")

    apply(endpoint_slice([1]))
    name = zoo.pod("zoo/http", 1).split("/")[1]
    t.ok(meshtap.until(lambda: all(
        name in zoo.ask("zoo/client", "http", "many.zoo:80", "last")[1]
        for _ in range(4)), 10), "and the last change holds")


def rotations(t):
    """leafs all the time, and a new root in between"""
    loads = [
        zoo.load("zoo/client", "--http", "http://http.zoo/", "--rate",
                 str(RATE), "--connections", "8", "--fresh", "10"),
        zoo.load("zoo/client", "--tcp", "echo.zoo:7000", "--rate", "50",
                 "--fresh", "5"),
    ]
    before = pairs()
    seen = {one: set() for one in before}
    authority = meshpki.ClusterAuthority(zoo)
    steps = authority.new_root()

    for _ in range(3):
        t.note(next(steps))
        end = time.monotonic() + 2 * TTL
        while time.monotonic() < end:
            for one, pair in pairs().items():
                seen[one].add(pair)

    results = [load.stop() for load in loads]
    fewest = min(len(pairs_of) for pairs_of in seen.values())
    t.ok(fewest >= 3, f"each sidecar had {fewest} pairs or more")

    none_failed(t, results[0], "HTTP while leafs and root change")
    none_failed(t, results[1], "TCP while leafs and root change")

    old = [one for one, pair in pairs().items() if pair == before[one]]
    t.ok(not old, "and nobody has its first one", str(old))
    t.ok(zoo.metrics("zoo/client").sum("mesh_identity_refused_total") == 0,
         "no pair was refused")


def pairs():
    found = {}
    for app, pods in zoo.names.items():
        for index, pod in enumerate(pods):
            if pod["meshed"] and pod["namespace"] == "zoo" \
                    and app != "zoo/impostor":
                found[app, index] = zoo.exec(
                    zoo.pod(app, index), "/bin/readlink",
                    "/run/mesh/identity/current", container="ngx-mesh")[1]
    return found


with zoo:
    tap = meshtap.Tap()
    path = os.path.join(zoo.work, "identity.yaml")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(meshzoo.identity_with(f"--leaf-ttl={TTL}"))
    zoo.start(tap, "--workers", "2", more=[path])
    sys.exit(tap.run([thousand_changes, rotations]))
