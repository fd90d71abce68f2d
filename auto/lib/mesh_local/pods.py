"""
One pod from its addresses to its last process: kubelet's part.  Native
sidecars start first, one after the other, and end last.
"""

import asyncio
import copy
import os
import shutil
import time

from . import addresses
from . import containers
from . import inject
from . import linux
from . import manifests
from . import network
from . import objects
from . import volumes

SIDECAR_GRACE = 2.0        # s that a sidecar has at least, as kubelet
RETRY = 0.2


class Pod:
    """The runtime of one Pod object."""

    def __init__(self, node, obj):
        self.node = node
        self.object = obj
        self.spec = obj["spec"]
        self.namespace = obj["metadata"]["namespace"]
        self.name = obj["metadata"]["name"]
        self.uid = obj["metadata"]["uid"]
        self.net = node.layout.net(self.uid)
        self.link = "v" + self.uid.replace("-", "")[:12]
        self.ips = []
        self.run_mesh = None
        self.phase = "Pending"
        self.waiting_for = None
        self.terminating = False
        self.gone = asyncio.Event()
        self.volumes = volumes.Volumes(node.layout, node.store, node.tokens,
                                       obj)
        self.init = [
            containers.Container(
                self, spec,
                "sidecar" if manifests.is_sidecar(spec) else "init")
            for spec in self.spec.get("initContainers") or []]
        self.apps = [containers.Container(self, spec, "app")
                     for spec in self.spec["containers"]]
        self.controller = None            # (namespace, kind, name)
        self.hash = None                  # of the template it came from
        self.task = None

    def all(self):
        return self.init + self.apps

    def find(self, name):
        """The named container; without a name the first app."""
        if name is None:
            return self.apps[0]
        return next((c for c in self.all() if c.name == name), None)

    # up

    def start(self):
        self.task = self.node.task(self._run(), f"pod {self.name}")

    async def _run(self):
        self.ips = self.node.pod_addresses.take()
        self.object["status"] = {
            "phase": "Pending",
            "hostIP": addresses.GATEWAYS[0],
            "hostIPs": [{"ip": ip} for ip in addresses.GATEWAYS],
            "podIP": self.ips[0],
            "podIPs": [{"ip": ip} for ip in self.ips],
            "startTime": objects.timestamp(),
        }

        os.makedirs(self.node.layout.pod(self.uid, "volumes"))
        network.add_pod(self.net, self.link, self.ips)
        if inject.is_injected(self.object):
            self.mount_run_mesh()

        self.write()
        await self._wait_for_volumes()

        for container in self.init:
            if container.kind == "init":
                await container.run_once()
            else:
                container.keep()
                await container.until_started()

        self.phase = "Running"
        for container in self.apps:
            container.keep()
        self.write()

    async def _wait_for_volumes(self):
        while True:
            try:
                self.volumes.prepare()
                self.waiting_for = None
                return
            except (volumes.NotYet, OSError) as missing:
                if str(missing) != self.waiting_for:
                    self.waiting_for = str(missing)
                    self.node.event(f"{self.namespace}/{self.name}: "
                                    f"{missing}")
            await asyncio.sleep(RETRY)

    def mount_run_mesh(self):
        """Only the sidecar sees it, and its restarts do not clear it."""
        uid = inject.SIDECAR_UID
        path = self.node.layout.pod(self.uid, "run-mesh")
        os.makedirs(path)
        linux.mount("tmpfs", path, "tmpfs",
                    linux.MS_NOSUID | linux.MS_NODEV,
                    f"mode=0700,uid={uid},gid={uid},size=128m")
        self.run_mesh = path

    # what others see

    def changed(self):
        """A container changed: the object follows."""
        self.write()

    def is_ready(self):
        return (not self.terminating and bool(self.apps)
                and all(c.ready for c in self.all()
                        if c.kind != "init"))

    def write(self):
        if "status" not in self.object or self.gone.is_set():
            return

        ready = self.is_ready()
        status = copy.copy(self.object["status"])
        status["phase"] = self.phase
        status["conditions"] = self.conditions(ready)
        if self.init:
            status["initContainerStatuses"] = [c.status() for c in self.init]
        status["containerStatuses"] = [c.status() for c in self.apps]

        self.object["status"] = status
        self.node.store.put(self.object)

    def conditions(self, ready):
        old = {c["type"]: c for c in
               self.object["status"].get("conditions") or []}
        values = {"PodScheduled": True,
                  "Initialized": all(c.started for c in self.init),
                  "ContainersReady": ready, "Ready": ready}
        result = []

        for kind, value in values.items():
            word = "True" if value else "False"
            known = old.get(kind)
            if known is None or known["status"] != word:
                known = {"type": kind, "status": word,
                         "lastTransitionTime": objects.timestamp()}
            result.append(known)
        return result

    # down

    def doom(self, grace):
        """From here on it is Terminating and no endpoint any more."""
        self.terminating = True
        self.object["metadata"]["deletionTimestamp"] = objects.timestamp()
        self.object["metadata"]["deletionGracePeriodSeconds"] = int(grace)
        self.node.store.put(self.object)
        self.write()
        self.node.sync_now()

    async def terminate(self, grace):
        """
        After doom(): apps first, then sidecars, the last one first; these
        have what the apps left of grace.
        """
        end = time.monotonic() + grace
        try:
            await asyncio.gather(*[c.stop(grace) for c in self.apps])
            for container in reversed(self.init):
                await container.stop(max(end - time.monotonic(),
                                         SIDECAR_GRACE))
            if self.task and not self.task.done():
                self.task.cancel()
        finally:
            self.clean()

    def clean(self):
        self.gone.set()
        network.delete_pod(self.net, self.link)
        if self.run_mesh:
            linux.umount(self.run_mesh)
            self.run_mesh = None
        shutil.rmtree(self.node.layout.pod(self.uid), ignore_errors=True)
        self.node.pod_addresses.give_back(self.ips)
        self.node.forget(self)
