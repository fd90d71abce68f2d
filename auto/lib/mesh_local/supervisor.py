"""
The cluster's first process.  It is made as PID 1 of new PID, mount, network,
IPC and UTS namespaces: whatever ends it, even kill -9, the kernel ends every
process of the cluster with it, and no mount or interface is left behind.
"""

import asyncio
import json
import os
import signal
import sys
import traceback

from . import bootstrap
from . import image
from . import inject
from . import linux
from . import manifests
from . import network
from . import node as nodes
from . import processes

DOWN_GRACE = 5.0           # s for each of apps and sidecars when all goes down


def spawn(layout, settings, owner_fd):
    """
    Forks the supervisor off; returns its pid in the caller's numbers.
    owner_fd: a pidfd whose end takes the cluster down, or None.
    """
    def enter():
        linux.unshare(linux.CLONE_NEWPID | linux.CLONE_NEWNS
                      | linux.CLONE_NEWNET | linux.CLONE_NEWIPC
                      | linux.CLONE_NEWUTS)

    def run():
        code = 1
        try:
            processes.redirect(layout.log)
            linux.set_name("mesh-local")
            prepare(layout, settings)
            asyncio.run(Supervisor(layout, settings, owner_fd).run())
            code = 0
        except BaseException:             # the last words go to the log
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    return processes.fork_into(enter, run, layout.log)


def prepare(layout, settings):
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("proc", "/proc", "proc")
    linux.set_hostname(nodes.NODE_NAME)

    os.umask(0o022)
    linux.mount("tmpfs", layout.mnt, "tmpfs", linux.MS_NOSUID, "mode=0755")
    for path in (layout.nets, layout.pods, layout.rootfs, layout.dns):
        os.mkdir(path, 0o755)
    image.build(layout, settings["image_files"])


class Supervisor:
    """Answers the commands that come over the control socket."""

    def __init__(self, layout, settings, owner_fd):
        self.layout = layout
        self.settings = settings
        self.owner_fd = owner_fd
        self.node = nodes.Node(layout, settings)
        self.ending = None
        self.commands = {
            "up": self.up, "apply": self.apply, "delete": self.delete,
            "wait": self.wait, "status": self.status,
            "entering": self.entering, "restart": self.restart,
            "signal": self.signal, "scale": self.scale, "down": self.down,
        }

    async def run(self):
        loop = asyncio.get_running_loop()
        self.ending = loop.create_future()

        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # clients go away
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.end)
        if self.owner_fd is not None:
            loop.add_reader(self.owner_fd, self.end)

        self.node.start()
        server = await asyncio.start_unix_server(
            self.serve, path=self.layout.socket, limit=64 * 1024 * 1024)
        await self.ending
        server.close()

    def end(self):
        if not self.ending.done():
            self.ending.set_result(None)

    async def serve(self, reader, writer):
        """One request, lines of progress, one answer, all JSON lines."""
        def say(message):
            writer.write(json.dumps(message).encode() + b"\n")

        request = {}
        try:
            line = await reader.readline()
            if line:
                request = json.loads(line)
                command = self.commands[request.pop("command")]
                answer = await command(
                    lambda text: say({"line": text}), **request)
                say({"ok": answer})
        except (manifests.Bad, inject.Refused, network.NetworkError,
                LookupError, OSError, ValueError) as error:
            text = error.args[0] if isinstance(error, KeyError) else error
            say({"error": str(text)})
            if not isinstance(error, (manifests.Bad, inject.Refused)):
                traceback.print_exc()
        finally:
            try:
                await writer.drain()
            except ConnectionError:
                pass                      # who asked has gone away
            writer.close()

    # commands

    async def up(self, say, control, objects, timeout):
        if control:
            self.node.apply([obj for obj in control
                             if obj["kind"] == "Namespace"])
            self.node.bootstrap.start()
            self.node.apply([obj for obj in control
                             if obj["kind"] != "Namespace"])
            say("control plane: starting")
            await self.must_settle(timeout, bootstrap.SYSTEM)
            say("control plane: ready")

        self.node.apply(objects)
        say(f"workloads: starting {len(self.node.controllers)} and "
            f"{len(self.node.pods)} pods")
        await self.must_settle(timeout, None)
        return f"{len(self.node.pods)} pods are ready"

    async def must_settle(self, timeout, namespace):
        lines = await self.node.settle(timeout)
        if not lines:
            return

        raise manifests.Bad(
            f"not ready after {timeout:g} s:\n  " + "\n  ".join(lines)
            + "\n" + "\n".join(self.last_words(namespace)))

    def last_words(self, namespace):
        """The ends of the logs of what is not ready."""
        lines = []
        for pod in self.node.pods.values():
            if pod.is_ready() or (namespace and pod.namespace != namespace):
                continue
            for container in pod.all():
                if container.ready or not os.path.exists(container.log):
                    continue
                with open(container.log, encoding="utf-8",
                          errors="replace") as stream:
                    tail = stream.read()[-8000:].splitlines()[-8:]
                lines.append(f"-- {container.log}")
                lines += ["   " + line for line in tail]
        return lines

    async def apply(self, say, objects, wait):
        for line in self.node.apply(objects):
            say(line)
        if wait:
            await self.must_settle(wait, None)
        return None

    async def delete(self, say, keys, wait):
        for line in self.node.delete(keys):
            say(line)
        if wait:
            await self.must_settle(wait, None)
        return None

    async def wait(self, say, timeout):
        await self.must_settle(timeout, None)
        return None

    async def status(self, say):
        pods = []
        for pod in self.node.pods.values():
            pods.append({
                "namespace": pod.namespace, "name": pod.name,
                "ready": pod.is_ready(), "ips": pod.ips,
                "phase": pod.phase, "text": nodes.describe_pod(pod),
                "meshed": inject.is_injected(pod.object),
                "service_account": pod.spec["serviceAccountName"],
                "labels": pod.object["metadata"].get("labels") or {},
                "owner": list(pod.controller or ()),
                "containers": [{
                    "name": c.name, "kind": c.kind, "pid": c.pid,
                    "ready": c.ready, "restarts": c.restarts,
                    "reason": c.reason, "log": c.log,
                    "probe_answers": dict(c.probe_answers)}
                    for c in pod.all()]})

        services = [{
            "namespace": service.namespace, "name": service.name,
            "ips": service.vips,
            "ports": [{
                "port": port["port"], "name": port.get("name", ""),
                "ready": max(len(service.of_port(port, family))
                             for family in (4, 6)),
                "endpoints": service.of_port(port, 4)
                + service.of_port(port, 6)} for port in service.ports]}
            for service in self.node.services()]

        return {"pods": sorted(pods, key=lambda p: (p["namespace"],
                                                    p["name"])),
                "services": services}

    def pod(self, namespace, name):
        pod = self.node.pods.get((namespace, name))
        if pod is None:
            raise LookupError(f"no pod {namespace}/{name}")
        return pod

    def container(self, namespace, name, container):
        pod = self.pod(namespace, name)
        found = pod.find(container)
        if found is None:
            names = ", ".join(c.name for c in pod.all())
            raise LookupError(f'no container "{container}" in '
                              f"{namespace}/{name}: there are {names}")
        return found

    async def entering(self, say, namespace, pod, container):
        found = self.container(namespace, pod, container)
        if found.pid is None:
            raise LookupError(f"container {found.name} is not running: "
                              f"{found.reason}")
        return found.entering()

    async def restart(self, say, namespace, pod, container, grace):
        """One container, or all: apps end before sidecars."""
        if container is not None:
            await self.container(namespace, pod, container).restart(grace)
            return None

        found = self.pod(namespace, pod)
        await asyncio.gather(*[c.restart(grace) for c in found.apps])
        for sidecar in reversed(found.init):
            await sidecar.restart(grace)
        return None

    async def signal(self, say, namespace, pod, container, number):
        self.container(namespace, pod, container).signal(number)

    async def scale(self, say, namespace, name, replicas):
        for kind in manifests.WORKLOADS:
            obj = self.node.store.get(kind, namespace, name)
            if obj is not None:
                obj["spec"]["replicas"] = replicas
                self.node.store.put(obj)
                return None
        raise LookupError(f"no workload {namespace}/{name}")

    async def down(self, say, grace):
        if grace > 0:
            await self.node.end_pods(grace)
        self.end()
        return None
