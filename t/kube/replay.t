#!/usr/bin/python3

# What a real API server was recorded to send, and a random history, given to
# meshd watch by a server that does everything wrong: pieces, cuts, repeats,
# 410s, refusals.  Redis ends equal to an evaluation of its own.

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from kubeapi import recorded
from kubeworld import Churn, KubeWorld, wait
from meshtap import Tap

LONG = os.environ.get("MESH_LONG") == "1"


RECORDINGS = ("watch-namespaces.jsonl", "watch-services.jsonl",
              "watch-endpointslices-v1.jsonl", "watch-pods.jsonl")


def recorded_events():
    """(type, object, its text) as a server sent them, in order."""
    found = []
    for name in RECORDINGS:
        for line in recorded(name).splitlines():
            event = json.loads(line)
            if event["type"] not in ("BOOKMARK", "ERROR"):
                text = line.split('"object":', 1)[1][:-1]
                assert json.loads(text) == event["object"]
                found.append((event["type"], event["object"], text))
    found.sort(key=lambda e: int(e[1]["metadata"]["resourceVersion"]))
    return found


def replay(tap, what, seed, **faults):
    events = recorded_events()
    with KubeWorld(seed=seed) as world:
        for name, value in faults.items():
            setattr(world.api.faults, name, value)
        world.start_watch()
        for i, (event, obj, text) in enumerate(events):
            world.api.store(obj, text, int(obj["metadata"][
                "resourceVersion"]), event)
            if i % 4 == 0:
                wait(0.02)
        wrong = world.true(20)
        tap.equal(wrong, "", f"recordings: {what}")
        return world.api.requests


def recordings(tap):
    """What a real server sent, as it should not come."""
    replay(tap, "as they are", 1)
    replay(tap, "split at every byte", 2, split=1)
    replay(tap, "slow", 3, split=700, slow=0.002)
    replay(tap, "each event twice, in any order", 4, twice=0.5, swap=0.5)
    replay(tap, "cut after every other event", 5, cut=0.5)
    replay(tap, "410 at every third request", 6, gone=0.33)
    replay(tap, "refused every third time", 7, refuse=0.33)
    replay(tap, "all of it at once", 8, split=100, twice=0.3, swap=0.3,
           cut=0.3, gone=0.2, refuse=0.2, cut_list=0.2)


def churned(tap, seed, steps):
    with KubeWorld(seed=seed) as world:
        churn = Churn(world.api, seed)
        for _ in range(60):
            churn.step()
        faults = world.api.faults
        faults.cut, faults.cut_list, faults.twice = 0.1, 0.1, 0.1
        faults.swap, faults.gone, faults.refuse = 0.1, 0.1, 0.1
        world.start_watch("watch", "--list-limit=7", "--watch-timeout=2")
        for i in range(steps):
            churn.step()
            if i % 97 == 96:
                world.api.compact()
            if i % 61 == 60:
                world.api.cut()
            if i % 151 == 150:
                world.api.stop()
                for _ in range(5):
                    churn.step()
                world.api.start()
            wait(0.005)
        tap.equal(world.true(15), "", f"churn: seed {seed}, {steps} steps")
        world.api.faults = type(faults)()
        for _ in range(10):
            churn.step()
        tap.equal(world.true(10), "", f"churn: seed {seed}, in peace again")


def churn(tap):
    """Random operations, seeded, while everything goes wrong."""
    for seed in range(1, 4):
        churned(tap, seed, 3400 if LONG else 300)


sys.exit(Tap().run([recordings, churn]))
