"""
The cluster's objects: in memory, and one YAML file each in objects/, which
is what meshd watch reads as it would read an API server.
"""

import os
import secrets
import time

import yaml

from . import manifests

# never written: nobody but kubelet and controllers reads them
PRIVATE = {"Secret", "Deployment", "StatefulSet", "ServiceAccount"}

OVERRIDES = "ngx-mesh.io/overrides"


class Store:
    """Objects by kind, namespace and name; listeners hear of each change."""

    def __init__(self, directory, spool):
        self.directory = directory
        self.spool = spool
        self.objects = {}
        self.texts = {}
        self.version = 0
        self.listeners = []

    def get(self, kind, namespace, name):
        return self.objects.get((kind, namespace, name))

    def all(self, kind, namespace=None):
        return [obj for (its_kind, its_namespace, _), obj
                in sorted(self.objects.items(), key=lambda item: item[0])
                if its_kind == kind
                and (namespace is None or its_namespace == namespace)]

    def put(self, obj):
        """Adds or replaces; what the cluster gave it, it keeps."""
        key = manifests.key(obj)
        old = self.objects.get(key)
        meta = obj["metadata"]

        if old is not None and old is not obj:
            for name in ("uid", "creationTimestamp"):
                meta.setdefault(name, old["metadata"].get(name))
        meta.setdefault("uid", new_uid())
        meta.setdefault("creationTimestamp", timestamp())

        self.objects[key] = obj
        self.write(key, obj)
        self.tell(key, obj)

    def remove(self, kind, namespace, name):
        obj = self.objects.pop((kind, namespace, name), None)
        if obj is None:
            return

        if self.texts.pop((kind, namespace, name), None) is not None:
            os.unlink(self.path(kind, namespace, name))
        self.tell((kind, namespace, name), None)

    def tell(self, key, obj):
        for listener in self.listeners:
            listener(key, obj)

    def path(self, kind, namespace, name):
        words = [kind.lower(), namespace, name]
        return os.path.join(self.directory,
                            "_".join(word for word in words if word)
                            + ".yaml")

    def write(self, key, obj):
        if not is_public(obj):
            return

        meta = obj["metadata"]
        version = meta.pop("resourceVersion", None)
        text = yaml.dump(obj, Dumper=Dumper, sort_keys=False)

        if self.texts.get(key) == text:   # nothing new but the version
            meta["resourceVersion"] = version
            return

        self.texts[key] = text
        self.version += 1
        meta["resourceVersion"] = str(self.version)

        path = self.path(*key)
        new = os.path.join(self.spool, os.path.basename(path))
        with open(new, "w", encoding="utf-8") as stream:
            yaml.dump(obj, stream, Dumper=Dumper, sort_keys=False)
        os.chmod(new, 0o644)
        os.rename(new, path)


class Dumper(yaml.CSafeDumper):
    """YAML without anchors, as kubectl prints it."""

    def ignore_aliases(self, data):
        return True


def is_public(obj):
    if obj["kind"] == "ConfigMap":
        labels = obj["metadata"].get("labels") or {}
        return OVERRIDES in labels
    return obj["kind"] not in PRIVATE


def new_uid():
    return "-".join(secrets.token_hex(n) for n in (4, 2, 2, 2, 6))


def timestamp():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
