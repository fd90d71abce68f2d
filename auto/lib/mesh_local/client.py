"""
Talking to a running cluster: where it is, whether it lives, the control
socket, and the namespaces that a command must enter.
"""

import fcntl
import json
import os
import signal
import socket
import time

from . import layout as layouts
from . import processes


class Failed(Exception):
    """What a command has to say when it cannot do its work."""


class Cluster:
    """A cluster from outside."""

    def __init__(self, root=None):
        self.layout = layouts.Layout(root or layouts.root_from_env())

    # life

    def claim(self):
        """
        Takes the directory for a new cluster: a descriptor with a lock on
        it, which the supervisor inherits and holds for its life.
        """
        os.makedirs(self.layout.root, mode=0o700, exist_ok=True)
        os.chmod(self.layout.root, 0o700)
        fd = os.open(self.layout.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise Failed(f"a cluster runs in {self.layout.root}; take it "
                         "down, or set MESH_LOCAL_DIR") from None
        return fd

    def pid(self):
        """The supervisor's, or None if none lives."""
        try:
            with open(self.layout.state, encoding="ascii") as stream:
                pid = json.load(stream)["pid"]
        except (OSError, ValueError, KeyError):
            return None
        return pid if processes.alive(pid) and self._is_ours(pid) else None

    def _is_ours(self, pid):
        """The number may be somebody else's by now."""
        try:
            own = os.stat("/proc/self/ns/pid").st_ino
            return os.stat(f"/proc/{pid}/ns/pid").st_ino != own
        except OSError:
            return False

    def must_run(self):
        pid = self.pid()
        if pid is None:
            raise Failed(f"no cluster runs in {self.layout.root}")
        return pid

    def kill(self):
        """Ends the supervisor, and with it all that it holds."""
        pid = self.pid()
        if pid is None:
            return
        processes.send(pid, signal.SIGKILL)
        while processes.alive(pid):
            time.sleep(0.02)              # it waits for its children's end

    # commands

    def call(self, command, say=None, **arguments):
        """Sends a command and returns its answer; say gets each line."""
        self.must_run()

        with socket.socket(socket.AF_UNIX) as sock:
            self._connect(sock)
            request = dict(arguments, command=command)
            sock.sendall(json.dumps(request).encode() + b"\n")

            with sock.makefile("rb") as stream:
                for line in stream:
                    answer = json.loads(line)
                    if "line" in answer:
                        if say:
                            say(answer["line"])
                    elif "error" in answer:
                        raise Failed(answer["error"])
                    else:
                        return answer["ok"]

        raise Failed(f"the cluster ended; see {self.layout.log}")

    def _connect(self, sock):
        """By a short name: a socket's path holds 107 bytes."""
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(self.layout.root)
            sock.connect(os.path.basename(self.layout.socket))
        except OSError as error:
            raise Failed(f"{self.layout.socket}: {error.strerror}") from None
        finally:
            os.fchdir(here)
            os.close(here)

    # entering

    def node_argv(self, argv):
        """argv, run in the node's namespaces."""
        return ["/usr/bin/nsenter", "-t", str(self.must_run()), "-m", "-n",
                "-p", "-i", "-u", "--"] + argv

    def container_argv(self, namespace, pod, container, argv, uid=None):
        """argv, run in a container as its own processes are."""
        info = self.call("entering", namespace=namespace, pod=pod,
                         container=container)
        env = info["env"]
        if "TERM" in os.environ:
            env.setdefault("TERM", os.environ["TERM"])

        user = info["user"] if uid is None else \
            ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={uid}",
             "--clear-groups", "--"]

        return self.node_argv(
            ["/usr/bin/nsenter", "-t", str(info["pid"]), "-m", "-n", "-p",
             "-i", "-u", "--"] + user
            + ["/usr/bin/env", "-i", "-C", info["cwd"]]
            + [f"{name}={value}" for name, value in env.items()]
            + argv)
