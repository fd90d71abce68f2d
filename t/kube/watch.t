#!/usr/bin/python3

# The real meshd watch between an API server and a real Redis: lists and
# watches, what they mean compared with an evaluation of its own, and every
# way in which an API server can let one down.

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from kubeworld import KubeWorld, endpoint_slice, namespace, node
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


sys.exit(Tap().run([fill, changes]))
