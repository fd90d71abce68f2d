"""
One container: its namespaces, who it runs as, when it is started again.
A container is a process with a PID and mount namespace of its own in the
network namespace of its pod.
"""

import asyncio
import collections
import os
import signal
import time

from . import dns
from . import environment
from . import image
from . import linux
from . import probes
from . import processes
from . import volumes

BACKOFF_FIRST = 0.2        # seconds; doubled with every end
BACKOFF_LAST = 10.0
BACKOFF_FORGET = 60.0      # a run this long starts the count afresh
START_RETRY = 0.2          # while a ConfigMap or Secret is missing

NOBODY = 65534


class Container:
    """The life of one container of one pod."""

    def __init__(self, pod, spec, kind):
        self.pod = pod                    # pods.Pod
        self.spec = spec
        self.kind = kind                  # "init", "sidecar", "app"
        self.name = spec["name"]
        self.pid = None
        self.started = False              # startup probe passed
        self.ready = False
        self.restarts = 0
        self.probe_answers = collections.Counter()     # HTTP status
        self.last_code = None
        self.reason = "ContainerCreating"
        self.stopping = False
        self.task = None
        self.ended = None                 # future of the running process
        self.changed = asyncio.Event()
        self.log = pod.node.layout.container_log(
            pod.namespace, pod.name, self.name)

    # running

    async def run_once(self):
        """An ordinary init container: until it ends well."""
        wait = BACKOFF_FIRST
        while True:
            await self.launch()
            code = await self.ended
            self.end(code)
            if code == 0:
                self.started = self.ready = True
                self.reason = "Completed"
                self.notify()
                return
            self.restarts += 1
            await asyncio.sleep(wait)
            wait = min(wait * 2, BACKOFF_LAST)

    def keep(self):
        """Starts a task that runs it until stop()."""
        self.task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self):
        wait = BACKOFF_FIRST
        policy = self.spec.get("restartPolicy") \
            or self.pod.spec.get("restartPolicy", "Always")

        while not self.stopping:
            await self.launch()
            since = time.monotonic()
            prober = probes.Prober(self)
            prober.start()

            code = await self.ended
            prober.stop()
            self.end(code)

            if self.stopping or policy == "Never" \
                    or (policy == "OnFailure" and code == 0):
                return

            if time.monotonic() - since > BACKOFF_FORGET:
                wait = BACKOFF_FIRST
            self.restarts += 1
            self.reason = "CrashLoopBackOff" if wait > 1 else "Restarting"
            self.notify()
            await asyncio.sleep(wait)
            wait = min(wait * 2, BACKOFF_LAST)

    async def launch(self):
        while True:
            try:
                env = environment.of_container(self.pod.object, self.spec,
                                               self.pod.node.store)
                self.pod.volumes.prepare()
                self.pid = self.spawn(env)
                break
            except volumes.NotYet as missing:
                self.wait_for(str(missing))
            except (OSError, ValueError, KeyError) as error:
                self.wait_for(f"cannot start: {error}")
            await asyncio.sleep(START_RETRY)

        self.ended = self.pod.node.reaper.watch(self.pid)
        self.reason = "Running"
        self.event(f"started, pid {self.pid}")
        self.notify()

    def wait_for(self, reason):
        if self.reason != reason:
            self.reason = reason
            self.event(reason)
            self.notify()

    def end(self, code):
        self.pid = None
        self.started = self.ready = False
        self.last_code = code
        self.reason = ("ended by " + signal.Signals(-code).name if code < 0
                       else f"ended with {code}")
        self.event(self.reason)
        self.notify()

    # ending

    def signal(self, number):
        if self.pid is not None:
            processes.send(self.pid, number)

    async def stop(self, grace):
        """TERM, then KILL after grace seconds; returns when it is gone."""
        self.stopping = True
        if self.task is None:
            return

        if self.pid is not None and self.ended is not None:
            self.signal(signal.SIGTERM)
            await asyncio.wait([self.ended], timeout=grace)
            if not self.ended.done():
                self.event(f"still there after {grace:g} s, killed")
                self.signal(signal.SIGKILL)
                await asyncio.wait([self.ended])
            await asyncio.wait([self.task], timeout=1)

        self.task.cancel()

    async def restart(self, grace):
        """As if kubelet had found it unhealthy."""
        if self.pid is None:
            return
        ended = self.ended
        self.signal(signal.SIGTERM)
        await asyncio.wait([ended], timeout=grace)
        if not ended.done():
            self.signal(signal.SIGKILL)
            await asyncio.wait([ended])

    # telling others

    def notify(self):
        self.changed.set()
        self.pod.changed()

    def event(self, text):
        self.pod.node.event(f"{self.pod.namespace}/{self.pod.name} "
                            f"{self.name}: {text}")

    async def until_started(self):
        while not self.started:
            self.changed.clear()
            await self.changed.wait()

    def status(self):
        if self.pid is not None:
            state = {"running": {}}
        elif self.reason == "Completed":
            state = {"terminated": {"exitCode": 0, "reason": "Completed"}}
        else:
            state = {"waiting": {"reason": self.reason}}
        return {"name": self.name, "ready": self.ready,
                "started": self.started, "restartCount": self.restarts,
                "state": state}

    # the process

    def identity(self):
        """uid, gid and the capabilities that it keeps."""
        context = {}
        context.update(self.pod.spec.get("securityContext") or {})
        context.update(self.spec.get("securityContext") or {})

        uid = context.get("runAsUser", NOBODY)
        gid = context.get("runAsGroup", uid)
        added = (context.get("capabilities") or {}).get("add") or []
        return uid, gid, [name.lower().removeprefix("cap_")
                          for name in added]

    def as_user(self, argv):
        """argv under setpriv: the user, no capability, none to gain."""
        uid, gid, keep = self.identity()
        caps = ",".join(["-all"] + ["+" + name for name in keep])
        words = ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}",
                 "--clear-groups", "--no-new-privs",
                 f"--bounding-set={caps}", f"--inh-caps={caps}"]
        if keep:
            words.append(f"--ambient-caps={caps}")
        return words + ["--"] + argv

    def entering(self):
        """What exec needs to run something beside it."""
        env = environment.of_container(self.pod.object, self.spec,
                                       self.pod.node.store)
        return {"pid": self.pid, "env": env,
                "cwd": self.spec.get("workingDir") or "/",
                "user": self.as_user([])}

    def spawn(self, env):
        pod = self.pod
        argv = self.as_user(environment.argv(self.spec, env))
        mounts = pod.volumes.mounts_of(self.spec)
        if self.kind == "sidecar" and pod.run_mesh:
            mounts.append((pod.run_mesh, "/run/mesh", False))

        files = {"/etc/resolv.conf": dns.resolv_conf(pod.namespace),
                 "/etc/hosts": dns.hosts_file(pod.object),
                 "/etc/hostname": environment.hostname(pod.object) + "\n"}
        net = pod.net
        layout = pod.node.layout

        def enter():
            linux.setns(net, linux.CLONE_NEWNET)
            linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWPID
                          | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC)

        def run():
            processes.redirect(self.log)
            linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
            linux.set_hostname(environment.hostname(pod.object))
            image.enter_root(layout, files, mounts)
            os.umask(0o022)
            os.chdir(self.spec.get("workingDir") or "/")
            os.execve(argv[0], argv, env)

        return processes.fork_into(enter, run, self.log)

    def spawn_beside(self, command):
        """Runs command in the container, as exec probes do."""
        env = environment.of_container(self.pod.object, self.spec,
                                       self.pod.node.store)
        argv = self.as_user([environment.expand(str(word), env)
                             for word in command])
        target = f"/proc/{self.pid}/ns"
        cwd = self.spec.get("workingDir") or "/"

        def enter():
            linux.setns(f"{target}/net", linux.CLONE_NEWNET)
            linux.setns(f"{target}/uts", linux.CLONE_NEWUTS)
            linux.setns(f"{target}/ipc", linux.CLONE_NEWIPC)
            linux.setns(f"{target}/pid", linux.CLONE_NEWPID)
            linux.setns(f"{target}/mnt", linux.CLONE_NEWNS)

        def run():
            processes.redirect("/dev/null")
            os.chdir(cwd)
            os.execve(argv[0], argv, env)

        return processes.fork_into(enter, run, "/dev/null")
