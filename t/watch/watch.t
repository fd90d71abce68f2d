#!/usr/bin/python3

# The real meshd watch between a directory and a real Redis: what it writes,
# that it follows changes, and that a bad document takes no other down.

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from meshtap import TREE, Tap, until
from meshwatch import World, pod, service

CART = "spiffe://cluster.local/ns/shop/sa/cart"


def endpoints(world, name):
    body = world.document("mesh:svc:" + name)
    return body and [f"{e['address']}:{e['port']}"
                     for e in body["ports"][0]["endpoints"]]


def fill(tap):
    with World() as world:
        world.put("shop.yaml", service("cart", "10.96.0.7"),
                  pod("cart-1", "10.244.0.5", app="cart", account="cart"),
                  {"apiVersion": "v1", "kind": "Node", "metadata": {
                      "name": "n1", "labels": {
                          "topology.kubernetes.io/zone": "a"}}},
                  {"apiVersion": "v1", "kind": "ConfigMap",
                   "metadata": {"name": "other"}})
        world.start_watch()
        tap.equal(until(world.synced), 1, "fill: epoch 1 is complete")
        tap.equal(world.documents(), {
            "mesh:vip:10.96.0.7:80": {"service": "shop/cart", "port": 80},
            "mesh:ip:10.244.0.5": {"workload": "shop/cart-1"},
            "mesh:wl:shop/cart-1": {
                "namespace": "shop", "pod": "cart-1",
                "serviceAccount": "cart", "identity": CART, "meshed": True,
                "addresses": ["10.244.0.5"], "node": "n1", "zone": "a",
                "ports": [{"port": 8080, "name": "http",
                           "protocol": "http1"}]},
            "mesh:svc:shop/cart": {
                "namespace": "shop", "name": "cart",
                "addresses": ["10.96.0.7"],
                "ports": [{"port": 80, "name": "http", "protocol": "http1",
                           "endpoints": [{
                               "address": "10.244.0.5", "port": 8080,
                               "workload": "shop/cart-1", "identity": CART,
                               "meshed": True, "serviceAccount": "cart",
                               "node": "n1", "zone": "a", "weight": 1}]}]},
        }, "fill: the documents, all of them verified")
        tap.equal(world.read("state/epoch"), "1\n", "fill: epoch on disk")


def changes(tap):
    with World() as world:
        world.put("cart.yaml", service("cart", "10.96.0.7"))
        world.put("pods.yaml", pod("cart-1", "10.244.0.5", app="cart"))
        world.start_watch()
        tap.equal(until(world.synced), 1, "changes: complete")

        listener = world.connect()
        listener("SUBSCRIBE", "mesh:ch:mesh:svc:shop/cart")

        world.put("pods.yaml", pod("cart-1", "10.244.0.5", app="cart"),
                  pod("cart-2", "10.244.0.6", app="cart"))
        message = listener.reply()
        tap.equal(message[:2], ["message", "mesh:ch:mesh:svc:shop/cart"],
                  "changes: published")
        tap.equal(message[2], world.client("HGET", "mesh:gens",
                                           "mesh:svc:shop/cart"),
                  "changes: the message is the generation")
        tap.equal(endpoints(world, "shop/cart"),
                  ["10.244.0.5:8080", "10.244.0.6:8080"],
                  "changes: a pod came")

        world.put("pods.yaml",
                  pod("cart-1", "10.244.0.5", app="cart", ready=False),
                  pod("cart-2", "10.244.0.6", app="cart"))
        listener.reply()
        tap.equal(endpoints(world, "shop/cart"), ["10.244.0.6:8080"],
                  "changes: not ready is no endpoint")

        world.remove("pods.yaml")
        tap.ok(until(lambda: world.document("mesh:ip:10.244.0.6") is None),
               "changes: the address is gone")
        value = world.client("GET", "mesh:ip:10.244.0.6")
        body, _ = world.signer().open("mesh:ip:10.244.0.6", value)
        tap.equal(body, None, "changes: its tombstone is signed")
        tap.ok(3000 < world.client("TTL", "mesh:ip:10.244.0.6") <= 3600,
               "changes: the tombstone will expire")
        tap.equal(endpoints(world, "shop/cart"), [],
                  "changes: a service without endpoints stays")

        world.remove("cart.yaml")
        tap.ok(until(lambda: world.documents() == {}),
               "changes: nothing is left")
        listener.close()


def written_in_place(tap):
    """A file that is written bit by bit counts when it is closed."""
    with World() as world:
        world.put("a.yaml", service("a", "10.96.0.1"),
                  service("b", "10.96.0.2"))
        world.start_watch()
        tap.equal(until(world.synced), 1, "in place: complete")
        lines = open(os.path.join(world.source, "a.yaml"),
                     encoding="utf-8").read().replace("10.96.0.2",
                                                      "10.96.0.3")
        with open(os.path.join(world.source, "a.yaml"), "w",
                  encoding="utf-8") as file:
            file.write(lines[:len(lines) // 2])
            file.flush()
            world.put("c.yaml", service("c", "10.96.0.9"))
            until(lambda: world.document("mesh:svc:shop/c"))
            tap.ok(world.document("mesh:svc:shop/b"),
                   "in place: half a file deletes nothing")
            file.write(lines[len(lines) // 2:])
        tap.ok(until(lambda: world.document("mesh:vip:10.96.0.3:80")),
               "in place: the whole file counts")


def bad_documents(tap):
    with World() as world:
        world.put("a.yaml", service("a", "10.96.0.1"),
                  "kind: Service\napiVersion: v1\nmetadata: {name: x,\n",
                  service("b", "10.96.0.2"))
        world.put("c.yaml", service("c", "10.96.0.3"))
        world.put("list.yaml", {"apiVersion": "v1", "kind": "List", "items": [
            service("d", "10.96.0.4"), {"kind": "Service",
                                        "apiVersion": "v1"},
            service("e", "10.96.0.5")]})
        world.put("notes.txt", "not a manifest: [\n")
        world.start_watch()
        tap.equal(until(world.synced), 1, "bad: complete")
        tap.equal(sorted(key for key in world.documents()
                         if key.startswith("mesh:svc:")),
                  [f"mesh:svc:shop/{name}" for name in "abcde"],
                  "bad: the good documents count")
        line = 2 + open(os.path.join(world.source, "a.yaml"),
                        encoding="utf-8").read().split("---")[0].count("\n")
        tap.has(world.log(), "a.yaml:", "bad: the file is named")
        found = [l for l in world.log().splitlines() if "a.yaml:" in l]
        tap.ok(found and line <= int(found[0].split("a.yaml:")[1]
                                     .split(":")[0]) <= line + 3,
               "bad: and the line", str(found))
        tap.has(world.log(), "list.yaml:", "bad: an item of a list")
        tap.has(world.log(), "metadata is missing", "bad: and what is wrong")

        # a bad version does not replace a good one, and deletes nothing

        broken = service("c", "10.96.0.3")
        broken["spec"]["ports"][0]["port"] = 70000
        world.put("c.yaml", broken)
        tap.ok(until(lambda: "spec.ports[0].port" in world.log()),
               "bad: a port out of range is refused", world.log())
        world.put("a.yaml", "kind: [\n", service("b", "10.96.0.2"))
        world.put("z.yaml", service("z", "10.96.0.26"))
        tap.ok(until(lambda: world.document("mesh:svc:shop/z")),
               "bad: others go on")
        tap.ok(world.document("mesh:vip:10.96.0.3:80"),
               "bad: the last good version stays")
        tap.ok(world.document("mesh:svc:shop/a"),
               "bad: what may be in the broken document stays")
        world.put("a.yaml", service("b", "10.96.0.2"))
        tap.ok(until(lambda: world.document("mesh:svc:shop/a") is None),
               "bad: with the file whole again, what is gone goes")


def two_files(tap):
    with World() as world:
        world.put("b.yaml", service("s", "10.96.0.2"))
        world.put("a.yaml", service("s", "10.96.0.1"))
        world.start_watch()
        tap.equal(until(world.synced), 1, "two files: complete")
        tap.equal(world.document("mesh:svc:shop/s")["addresses"],
                  ["10.96.0.1"], "two files: the first by name counts")
        tap.has(world.log(), "Service/shop/s is in", "two files: logged")
        world.remove("a.yaml")
        tap.ok(until(lambda: world.document("mesh:svc:shop/s")["addresses"]
                     == ["10.96.0.2"]), "two files: then the other one")
        tap.equal(world.document("mesh:vip:10.96.0.1:80"), None,
                  "two files: the old address is gone")


def recordings(tap):
    """What a real API server says, as files."""
    with World() as world:
        for name in ("list-pods.json", "list-services.json",
                     "list-namespaces.json"):
            shutil.copy(os.path.join(TREE, "t/data/kubernetes", name),
                        world.source)
        world.start_watch()
        tap.equal(until(world.synced), 1, "recordings: complete")
        found = world.documents()
        tap.equal(found["mesh:vip:10.96.0.1:443"],
                  {"service": "default/kubernetes", "port": 443},
                  "recordings: the API server's own service")
        headless = found["mesh:svc:mesh-demo/headless"]
        tap.equal((headless["addresses"], headless["ports"][0]["protocol"]),
                  ([], "opaque"), "recordings: a headless service")
        tap.ok([key for key, body in found.items()
                if key.startswith("mesh:wl:mesh-demo/web-")
                and body["owner"] == {"kind": "deployment", "name": "web"}],
               "recordings: a pod of a deployment")
        tap.ok("error" not in world.log(), "recordings: no complaint",
               world.log())


def directory(tap):
    """The directory goes and comes: the last good objects stay."""
    with World() as world:
        world.put("a.yaml", service("a", "10.96.0.1"))
        world.start_watch()
        tap.equal(until(world.synced), 1, "directory: complete")
        os.rename(world.source, world.source + ".away")
        tap.ok(until(lambda: "the last good objects stay" in world.log(), 15),
               "directory: told that it is gone")
        tap.ok(world.document("mesh:svc:shop/a"), "directory: objects stay")
        os.makedirs(world.source)
        world.put("b.yaml", service("b", "10.96.0.2"))
        tap.ok(until(lambda: world.document("mesh:svc:shop/b"), 15),
               "directory: a new one is read")
        tap.ok(until(lambda: world.document("mesh:svc:shop/a") is None),
               "directory: and counts alone")


def options(tap):
    with World() as world:
        world.launch("watch", *[os.path.join(
            os.environ.get("MESH_BUILD", os.path.join(TREE, "build")),
            "meshd"), "watch", "--help"])
        tap.equal(world.processes["watch"].wait(10), 0, "options: --help")
        tap.has(world.log(), "--state-dir", "options: lists them")
        for words, what in ((["--source=kube"], "dir:PATH"),
                            (["--source=dir:/none/such"], "/none/such"),
                            (["--trust-domain=A b"], "--trust-domain"),
                            (["--redis=nonsense:"], "nonsense")):
            world.write("watch.log", "")
            world.start_watch("watch", *words)
            tap.ok(world.processes["watch"].wait(10) in (1, 2),
                   f"options: {words[0]} does not start")
            tap.has(world.log(), what, "options: and says why")
        world.processes.pop("watch")


sys.exit(Tap().run([fill, changes, written_in_place, bad_documents, two_files,
                    recordings, directory, options]))
