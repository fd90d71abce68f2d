"""
The sidecar of a pod: plays meshd inject.  Adds the init container that sets
the redirect, the native sidecar, and the volumes that these two need.
"""

import copy

from . import manifests

SIDECAR = "ngx-mesh"
SIDECAR_UID = 2102

IDENTITY = "10.96.0.3:8443"
REDIS = "10.96.0.5:6379"

# names of the objects that each meshed namespace holds a copy of
TRUST = "mesh-trust"
REDIS_SECRET = "mesh-redis-agent"

# annotation of a pod, below ngx-mesh.io/ -> option of mesh-agent
ANNOTATIONS = {
    "workers": "--workers",
    "log-level": "--log-level",
    "unknown-in-cluster": "--unknown-in-cluster",
    "drain": "--drain",
}

STATIC = "ngx-mesh.io/static-state"      # a ConfigMap with the key "state"

MOUNT = "/var/run/ngx-mesh"


class Refused(Exception):
    """A pod that must not get a sidecar, as a sentence."""


def is_injected(pod):
    annotations = pod["metadata"].get("annotations") or {}
    return annotations.get(manifests.STATUS) == "injected"


def inject(pod, settings):
    """
    A copy of pod with the sidecar in it.  settings: "workers", "env" (a list
    of NAME=VALUE for tests), "trust_domain".
    """
    refuse(pod)

    pod = copy.deepcopy(pod)
    meta = pod["metadata"]
    spec = pod["spec"]
    annotations = meta.setdefault("annotations", {})
    annotations[manifests.STATUS] = "injected"

    spec["initContainers"] = [redirect(), sidecar(pod, settings)] \
        + (spec.get("initContainers") or [])
    spec["volumes"] = (spec.get("volumes") or []) + volumes(annotations)
    return pod


def refuse(pod):
    """DESIGN: an app may neither pass for the sidecar nor undo the rules."""
    for container in manifests.all_containers(pod["spec"]):
        context = dict(pod["spec"].get("securityContext") or {})
        context.update(container.get("securityContext") or {})
        name = container["name"]

        if context.get("runAsUser") == SIDECAR_UID:
            raise Refused(f'container "{name}" runs as {SIDECAR_UID}, the '
                          "sidecar's user")

        added = (context.get("capabilities") or {}).get("add") or []
        if "NET_ADMIN" in added:
            raise Refused(f'container "{name}" asks for NET_ADMIN')


def redirect():
    return {
        "name": "ngx-mesh-redirect",
        "command": ["/usr/sbin/nft", "-f", "/etc/ngx-mesh/redirect.nft"],
        "securityContext": {"runAsUser": 0, "runAsGroup": 0,
                            "capabilities": {"add": ["NET_ADMIN"]}},
    }


def sidecar(pod, settings):
    annotations = pod["metadata"]["annotations"]
    admin = {"port": 4191}

    container = {
        "name": SIDECAR,
        "restartPolicy": "Always",
        "command": ["/usr/local/bin/mesh-agent", "init"],
        "args": arguments(annotations, settings),
        "env": variables(settings),
        "securityContext": {"runAsUser": SIDECAR_UID,
                            "runAsGroup": SIDECAR_UID},
        "startupProbe": {"httpGet": dict(admin, path="/ready"),
                         "periodSeconds": 0.2, "failureThreshold": 600},
        "readinessProbe": {"httpGet": dict(admin, path="/ready"),
                           "periodSeconds": 2, "timeoutSeconds": 2},
        "livenessProbe": {"httpGet": dict(admin, path="/live"),
                          "periodSeconds": 5, "timeoutSeconds": 2,
                          "failureThreshold": 6},
        "volumeMounts": [
            {"name": "ngx-mesh-trust", "mountPath": MOUNT + "/trust",
             "readOnly": True},
            {"name": "ngx-mesh-token", "mountPath": MOUNT + "/token",
             "readOnly": True},
        ],
    }

    last = "static" if STATIC in annotations else "redis"
    container["volumeMounts"].append(
        {"name": "ngx-mesh-" + last, "mountPath": f"{MOUNT}/{last}",
         "readOnly": True})
    return container


def arguments(annotations, settings):
    options = {
        "--namespace": "$(POD_NAMESPACE)",
        "--pod": "$(POD_NAME)",
        "--service-account": "$(SERVICE_ACCOUNT)",
        "--trust-domain": settings["trust_domain"],
        "--identity": IDENTITY,
        "--trust": MOUNT + "/trust/trust.pem",
        "--token": MOUNT + "/token/token",
        "--workers": str(settings["workers"]),
    }

    if STATIC in annotations:
        options["--static"] = MOUNT + "/static/state"
    else:
        options["--redis"] = REDIS
        options["--redis-user"] = "agent"
        options["--redis-password-file"] = MOUNT + "/redis/password"

    for name, option in ANNOTATIONS.items():
        value = annotations.get("ngx-mesh.io/" + name)
        if value is not None:
            options[option] = value

    return [f"{option}={value}" for option, value in options.items()]


def variables(settings):
    env = [{"name": name,
            "valueFrom": {"fieldRef": {"fieldPath": path}}}
           for name, path in (
               ("POD_NAMESPACE", "metadata.namespace"),
               ("POD_NAME", "metadata.name"),
               ("SERVICE_ACCOUNT", "spec.serviceAccountName"))]

    for word in settings["env"]:
        name, _, value = word.partition("=")
        env.append({"name": name, "value": value})
    return env


def volumes(annotations):
    found = [
        {"name": "ngx-mesh-trust", "configMap": {"name": TRUST}},
        {"name": "ngx-mesh-token", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token",
                                     "audience": "ngx-mesh.io",
                                     "expirationSeconds": 3600}}]}},
    ]

    if STATIC in annotations:
        found.append({"name": "ngx-mesh-static",
                      "configMap": {"name": annotations[STATIC]}})
    else:
        found.append({"name": "ngx-mesh-redis",
                      "secret": {"secretName": REDIS_SECRET}})
    return found
