"""
What a manifest says: YAML documents in, checked objects with defaults out.
Every complaint names the file, the object and the field.
"""

import copy
import hashlib
import json
import os

import yaml

NAMESPACED_OUT = {"Namespace", "Node", "ClusterRole", "ClusterRoleBinding",
                  "CustomResourceDefinition"}

WORKLOADS = ("Deployment", "StatefulSet")

INJECT = "ngx-mesh.io/inject"
STATUS = "ngx-mesh.io/status"


class Bad(Exception):
    """A manifest that cannot be used, as a sentence."""


def load_path(path):
    """Objects of a file, or of a directory's *.yaml files by name."""
    if not os.path.exists(path):
        raise Bad(f"{path}: no such file or directory")

    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path)
                       if n.endswith((".yaml", ".yml"))
                       and not n.startswith("."))
        if not names:
            raise Bad(f"{path}: no *.yaml in it")
        files = [os.path.join(path, name) for name in names]
    else:
        files = [path]

    objects = []
    for file in files:
        with open(file, encoding="utf-8") as stream:
            objects.extend(load_text(stream.read(), file))
    return objects


def load_text(text, name):
    """Objects of one YAML text; a List is opened; empty documents skipped."""
    try:
        documents = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    except yaml.YAMLError as error:
        raise Bad(f"{name}: {error}") from None

    objects = []
    for document in documents:
        if document is None:
            continue
        if isinstance(document, dict) and document.get("kind") == "List":
            objects.extend(document.get("items") or [])
        else:
            objects.append(document)

    base = os.path.dirname(os.path.abspath(name))
    return [check(obj, name, base) for obj in objects]


def check(obj, name, base):
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        raise Bad(f"{name}: a document is not a Kubernetes object")

    kind = obj.get("kind")
    meta = obj["metadata"]
    if not kind or not meta.get("name"):
        raise Bad(f"{name}: an object lacks kind or metadata.name")

    obj = copy.deepcopy(obj)
    meta = obj["metadata"]
    if kind not in NAMESPACED_OUT:
        meta.setdefault("namespace", "default")

    where = f"{name}: {describe(obj)}"
    if kind in WORKLOADS:
        template = obj.get("spec", {}).get("template")
        if not isinstance(template, dict):
            raise Bad(f"{where}: no spec.template")
        check_pod(template, where, base)
        check_selector(obj, template, where)
    elif kind == "Pod":
        check_pod(obj, where, base)
    elif kind == "Service":
        check_service(obj, where)
    elif kind in ("DaemonSet", "ReplicaSet", "Job", "CronJob"):
        raise Bad(f"{where}: this kind cannot be played here")

    return obj


def check_pod(pod, where, base):
    spec = pod.get("spec") or {}
    pod.setdefault("metadata", {})
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("terminationGracePeriodSeconds", 30)

    if not spec.get("containers"):
        raise Bad(f"{where}: no containers")

    if spec.get("hostNetwork"):
        raise Bad(f"{where}: hostNetwork cannot be played here")

    volumes = {volume["name"] for volume in spec.get("volumes") or []}
    seen = set()

    for container in all_containers(spec):
        name = container.get("name")
        if not name or name in seen:
            raise Bad(f'{where}: container "{name}" lacks a name of its own')
        seen.add(name)

        if not container.get("command"):
            raise Bad(f'{where}: container "{name}" has no command; an image '
                      "cannot be pulled here, programs are the machine's own")

        for mount in container.get("volumeMounts") or []:
            if mount["name"] not in volumes:
                raise Bad(f'{where}: container "{name}" mounts volume '
                          f'"{mount["name"]}", which is not there')

    for volume in spec.get("volumes") or []:
        path = (volume.get("hostPath") or {}).get("path")
        if path and not path.startswith("/"):
            volume["hostPath"]["path"] = os.path.join(base, path)

    pod["spec"] = spec


def check_selector(obj, template, where):
    want = (obj["spec"].get("selector") or {}).get("matchLabels")
    have = template["metadata"].get("labels") or {}

    if not want:
        raise Bad(f"{where}: no spec.selector.matchLabels")

    if not matches(want, have):
        raise Bad(f"{where}: spec.selector does not match the template")


def check_service(obj, where):
    spec = obj.setdefault("spec", {})

    for port in spec.get("ports") or []:
        if not isinstance(port.get("port"), int):
            raise Bad(f"{where}: a port lacks its number")
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])


def all_containers(spec):
    return (spec.get("initContainers") or []) + (spec.get("containers") or [])


def is_sidecar(container):
    return container.get("restartPolicy") == "Always"


def matches(selector, labels):
    labels = labels or {}
    return all(labels.get(key) == value for key, value in selector.items())


def describe(obj):
    meta = obj["metadata"]
    if meta.get("namespace"):
        return f"{obj['kind']} {meta['namespace']}/{meta['name']}"
    return f"{obj['kind']} {meta['name']}"


def key(obj):
    meta = obj["metadata"]
    return (obj["kind"], meta.get("namespace", ""), meta["name"])


def template_hash(template):
    text = json.dumps(template, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def wants_sidecar(pod, namespace):
    """The pod's label goes before the namespace's."""
    own = (pod["metadata"].get("labels") or {}).get(INJECT)
    if own:
        return own == "enabled"

    labels = (namespace or {}).get("metadata", {}).get("labels") or {}
    return labels.get(INJECT) == "enabled"
