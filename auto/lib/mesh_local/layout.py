"""Where a cluster keeps what: one table of paths below its directory."""

import os
import re

DEFAULT_DIR = "/run/ngx-mesh-local"

# what manifests see of the cluster's directory as paths of their node
NODE_ROOT = "/var/lib/ngx-mesh-local"


class Layout:
    """
    Paths of one cluster.  All are visible to everybody on the machine but
    mnt/, a tmpfs that only the cluster's mount namespace has.
    """

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.tree = os.path.dirname(os.path.dirname(os.path.dirname(
            os.path.dirname(os.path.abspath(__file__)))))

        self.state = self.path("cluster.json")
        self.socket = self.path("control.sock")
        self.lock = self.path("lock")
        self.log = self.path("supervisor.log")
        self.events = self.path("events.log")

        self.objects = self.path("objects")
        self.spool = self.path("objects.new")
        self.logs = self.path("logs")
        self.node = self.path("node")
        self.tokens = self.path("node", "tokens", "tokens.csv")

        self.mnt = self.path("mnt")
        self.image = self.path("mnt", "image")
        self.nets = self.path("mnt", "net")
        self.pods = self.path("mnt", "pods")
        self.rootfs = self.path("mnt", "rootfs")
        self.dns = self.path("mnt", "dns")

    def path(self, *names):
        return os.path.join(self.root, *names)

    def net(self, uid):
        return os.path.join(self.nets, uid)

    def pod(self, uid, *names):
        return os.path.join(self.pods, uid, *names)

    def container_log(self, namespace, pod, container):
        return os.path.join(self.logs, f"{namespace}_{pod}_{container}.log")

    def host_path(self, path):
        """A hostPath of a manifest as a path of this machine."""
        if path == NODE_ROOT or path.startswith(NODE_ROOT + "/"):
            return self.node + path[len(NODE_ROOT):]
        return path


def root_from_env():
    return os.environ.get("MESH_LOCAL_DIR") or DEFAULT_DIR


def split_pod(word):
    """NS/POD as a pair, or None."""
    match = re.fullmatch(r"([^/]+)/([^/]+)", word)
    return match.groups() if match else None
