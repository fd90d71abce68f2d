"""The variables of a container, as the pod's specification gives them."""

import re

from . import volumes

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def of_container(pod, container, store):
    """A dict of variables; raises volumes.NotYet."""
    env = {"PATH": PATH, "HOME": "/", "HOSTNAME": hostname(pod),
           "LANG": "C.UTF-8"}

    for source in container.get("envFrom") or []:
        env.update(_all_of(source, pod, store))

    for item in container.get("env") or []:
        if "valueFrom" in item:
            value = _from(item["valueFrom"], pod, container, store)
            if value is None:
                continue
        else:
            value = expand(str(item.get("value") or ""), env)
        env[item["name"]] = value

    return env


def expand(text, env):
    """$(NAME) as Kubernetes does: unknown ones stay, $$ is a $."""
    def one(match):
        if match.group(0) == "$$":
            return "$"
        return env.get(match.group(1), match.group(0))

    return re.sub(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", one, text)


def argv(container, env):
    words = list(container["command"]) + list(container.get("args") or [])
    return [expand(str(word), env) for word in words]


def hostname(pod):
    return pod["spec"].get("hostname") or pod["metadata"]["name"]


def field(pod, path):
    """The downward API's fieldRef; None: no such value."""
    meta = pod["metadata"]
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match:
        return (meta.get(match.group(1)) or {}).get(match.group(2), "")

    status = pod.get("status") or {}
    addresses = [entry["ip"] for entry in status.get("podIPs") or []]
    values = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"]["serviceAccountName"],
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": ",".join(addresses),
        "status.hostIP": status.get("hostIP", ""),
    }
    return values.get(path)


def _from(source, pod, container, store):
    namespace = pod["metadata"]["namespace"]

    if "fieldRef" in source:
        path = source["fieldRef"]["fieldPath"]
        value = field(pod, path)
        if value is None:
            raise ValueError(f'container "{container["name"]}": fieldPath '
                             f'"{path}" is not known here')
        return value

    for name, kind in (("configMapKeyRef", "ConfigMap"),
                       ("secretKeyRef", "Secret")):
        if name in source:
            ref = source[name]
            data = volumes.data_of(store, kind, namespace, ref["name"],
                                   ref.get("optional", False))
            if ref["key"] in data:
                return data[ref["key"]].decode()
            if ref.get("optional"):
                return None
            raise volumes.NotYet(f'{kind} {namespace}/{ref["name"]} has no '
                                 f'key "{ref["key"]}"')
    return None


def _all_of(source, pod, store):
    namespace = pod["metadata"]["namespace"]
    prefix = source.get("prefix", "")

    for name, kind in (("configMapRef", "ConfigMap"),
                       ("secretRef", "Secret")):
        if name in source:
            data = volumes.data_of(store, kind, namespace,
                                   source[name]["name"],
                                   source[name].get("optional", False))
            return {prefix + key: value.decode()
                    for key, value in data.items()}
    return {}
