"""
The cluster itself: objects, pods, controllers and what follows from each
change.  Lives in the supervisor, which is PID 1 of the cluster.
"""

import asyncio
import copy
import sys
import time
import traceback

from . import addresses
from . import bootstrap
from . import dns
from . import endpoints
from . import inject
from . import manifests
from . import network
from . import objects
from . import pods
from . import processes
from . import proxy
from . import services
from . import volumes
from . import workloads

SYNC_DELAY = 0.02          # s: many changes make one new ruleset
NODE_NAME = "local"
ZONE = "zone-a"


class Node:
    """One machine that plays a cluster of one node."""

    def __init__(self, layout, settings):
        self.layout = layout
        self.settings = settings
        self.store = objects.Store(layout.objects, layout.spool)
        self.reaper = processes.Reaper()
        self.tokens = volumes.Tokens(layout.tokens)
        self.pod_addresses = addresses.pods()
        self.vip_addresses = addresses.vips()
        self.dns = dns.Server(self)
        self.bootstrap = bootstrap.Bootstrap(self)
        self.pods = {}
        self.controllers = {}
        self.rules = None
        self.sync_planned = False
        self.tasks = set()
        self.watchers = []

    # helpers for everybody

    def event(self, text):
        stamp = time.strftime("%H:%M:%S")
        millis = int(time.time() * 1000) % 1000
        with open(self.layout.events, "a", encoding="utf-8") as log:
            log.write(f"{stamp}.{millis:03d} {text}\n")

    def task(self, coroutine, what):
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(lambda done: self._task_ended(done, what))
        return task

    def _task_ended(self, task, what):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.event(f"{what}: {task.exception()}")
            traceback.print_exception(task.exception(), file=sys.stderr)

    def later(self, seconds, call):
        asyncio.get_running_loop().call_later(seconds, call)

    def services(self):
        return endpoints.resolve(self.store)

    # start

    def start(self):
        network.setup_node()
        self.reaper.start()
        self.dns.start()
        self.tokens.write()
        self.store.listeners.append(self.changed)
        self.sync_now()                   # rejects ClusterIPs from the start

        self.store.put({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": NODE_NAME, "labels": {
                "kubernetes.io/hostname": NODE_NAME,
                "topology.kubernetes.io/zone": ZONE}},
            "status": {"addresses": [
                {"type": "InternalIP", "address": ip}
                for ip in addresses.GATEWAYS]}})
        self.ensure_namespace("default")

    # changes

    def changed(self, key, obj):
        """Something in the store is new."""
        kind = key[0]

        if kind in ("ConfigMap", "Secret"):
            for pod in self.pods.values():
                if pod.namespace == key[1]:
                    pod.volumes.refresh()

        if not self.sync_planned:
            self.sync_planned = True
            self.later(SYNC_DELAY, self.sync)

        for watcher in self.watchers:
            watcher.set()

    def sync(self):
        self.sync_planned = False
        self.sync_now()

        for controller in list(self.controllers.values()):
            controller.reconcile()

    def sync_now(self):
        try:
            self.rules = proxy.apply(self.services(), self.rules)
        except network.NetworkError as error:
            self.event(str(error))
        self.dns.update()

    # objects from outside

    def apply(self, given):
        """Takes checked objects; returns a line for each."""
        lines = []
        for obj in sorted(given, key=lambda o: o["kind"] != "Namespace"):
            lines.append(f"{manifests.describe(obj)}: {self.apply_one(obj)}")
        return lines

    def apply_one(self, obj):
        key = manifests.key(obj)
        old = self.store.get(*key)

        if key[1]:
            self.ensure_namespace(key[1])

        if obj["kind"] == "Service":
            services.give_addresses(obj, old, self.vip_addresses)

        if obj["kind"] == "Pod":
            if old is not None:
                raise manifests.Bad(f"{manifests.describe(obj)} is there; "
                                    "delete it first")
            self.create_pod(obj)
            return "created"

        if old is not None and _same(old, obj):
            return "unchanged"

        self.store.put(obj)

        if obj["kind"] in manifests.WORKLOADS:
            if key in self.controllers:
                self.controllers[key].update(obj)
            else:
                self.controllers[key] = workloads.Controller(self, obj)

        return "created" if old is None else "changed"

    def ensure_namespace(self, name):
        if self.store.get("Namespace", "", name) is None:
            self.store.put({"apiVersion": "v1", "kind": "Namespace",
                            "metadata": {"name": name, "labels": {
                                "kubernetes.io/metadata.name": name}}})

    def delete(self, keys):
        lines = []
        for key in keys:
            key = tuple(key)
            name = "/".join(word for word in key[1:] if word)
            lines.append(f"{key[0]} {name}: {self.delete_one(key)}")
        return lines

    def delete_one(self, key):
        kind, namespace, name = key
        obj = self.store.get(*key)
        if obj is None:
            return "not there"

        if kind == "Pod":
            self.terminate(self.pods[(namespace, name)])
            return "terminating"

        if kind == "Namespace":
            self.empty_namespace(name)

        controller = self.controllers.pop(key, None)
        if controller:
            controller.delete_all()

        if kind == "Service":
            self.vip_addresses.give_back(obj["spec"].get("clusterIPs") or [])

        self.store.remove(*key)
        return "deleted"

    def empty_namespace(self, name):
        for key in [key for key in self.store.objects if key[1] == name]:
            if self.store.get(*key) is not None:
                self.delete_one(key)

    # pods

    def create_pod(self, obj):
        obj = copy.deepcopy(obj)
        meta = obj["metadata"]
        namespace = self.store.get("Namespace", "", meta["namespace"])

        if self.settings["inject"] \
                and manifests.wants_sidecar(obj, namespace):
            obj = inject.inject(obj, self.settings)
        obj["spec"].setdefault("nodeName", NODE_NAME)
        obj["metadata"]["uid"] = objects.new_uid()
        obj["metadata"]["creationTimestamp"] = objects.timestamp()

        self.tokens.of(obj["metadata"]["namespace"],
                       obj["spec"]["serviceAccountName"])
        pod = pods.Pod(self, obj)
        self.pods[(pod.namespace, pod.name)] = pod
        self.event(f"{pod.namespace}/{pod.name}: created")
        self.store.put(obj)
        pod.start()
        return pod

    def terminate(self, pod, grace=None):
        if pod.terminating:
            return
        if grace is None:
            grace = pod.spec["terminationGracePeriodSeconds"]
        pod.doom(grace)
        self.task(pod.terminate(grace), f"end of pod {pod.name}")

    def forget(self, pod):
        self.event(f"{pod.namespace}/{pod.name}: gone")
        self.pods.pop((pod.namespace, pod.name), None)
        self.store.remove("Pod", pod.namespace, pod.name)

    # waiting

    def unsettled(self):
        """What is not as it should be, one line each."""
        lines = []
        for controller in self.controllers.values():
            if not controller.settled():
                ready = sum(pod.is_ready() and pod.hash == controller.hash
                            for pod in controller.pods())
                lines.append(f"{controller.kind} {controller.namespace}/"
                             f"{controller.name}: {ready} of "
                             f"{controller.replicas()} ready")
        for pod in self.pods.values():
            if not pod.is_ready():
                lines.append(f"Pod {pod.namespace}/{pod.name}: "
                             f"{describe_pod(pod)}")
        return lines

    async def settle(self, timeout):
        """Waits until nothing is unsettled; returns what still is."""
        watcher = asyncio.Event()
        self.watchers.append(watcher)
        end = time.monotonic() + timeout

        try:
            while True:
                watcher.clear()
                lines = self.unsettled()
                left = end - time.monotonic()
                if (not lines and not self.sync_planned) or left <= 0:
                    return lines
                try:
                    await asyncio.wait_for(watcher.wait(), min(left, 0.5))
                except asyncio.TimeoutError:
                    pass                  # the time was just for looking
        finally:
            self.watchers.remove(watcher)

    async def end_pods(self, grace):
        self.controllers.clear()
        doomed = list(self.pods.values())
        for pod in doomed:
            self.terminate(pod, min(
                grace, pod.spec["terminationGracePeriodSeconds"]))
        await asyncio.gather(*[pod.gone.wait() for pod in doomed])


def describe_pod(pod):
    if pod.terminating:
        return "Terminating"
    if pod.waiting_for:
        return pod.waiting_for
    waiting = [f"{c.name}: {c.reason}" for c in pod.all()
               if not (c.ready or c.reason == "Completed")]
    return "; ".join(waiting[:2]) or "Ready"


def _same(old, new):
    """Is new what old was made from?"""
    fields = set(old) | set(new)
    for field in fields - {"metadata", "status"}:
        if old.get(field) != new.get(field):
            return False
    for field in ("labels", "annotations"):
        if old["metadata"].get(field) != new["metadata"].get(field):
            return False
    return True
