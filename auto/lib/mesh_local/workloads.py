"""
Deployments and StatefulSets: which pods they want, one step at a time.  Each
call of reconcile() does what may be done now; the next change calls it again.
"""

import copy
import secrets

from . import manifests
from . import objects

SUFFIX = "bcdfghjklmnpqrstvwxz2456789"    # as Kubernetes: no word, no vowel


class Controller:
    """Keeps the pods of one Deployment or StatefulSet."""

    def __init__(self, node, obj):
        self.node = node
        self.sets = {}                    # template hash -> ReplicaSet uid
        self.update(obj)

    def update(self, obj):
        self.object = obj
        self.kind = obj["kind"]
        self.namespace = obj["metadata"]["namespace"]
        self.name = obj["metadata"]["name"]
        self.hash = manifests.template_hash(obj["spec"]["template"])

    def replicas(self):
        return self.object["spec"].get("replicas", 1)

    def pods(self):
        """Own runtime pods, terminating ones too."""
        me = (self.namespace, self.kind, self.name)
        return [pod for pod in self.node.pods.values()
                if pod.controller == me]

    def settled(self):
        """Is everything wanted there, ready and nothing else?"""
        pods = self.pods()
        return (len(pods) == self.replicas()
                and all(pod.is_ready() and pod.hash == self.hash
                        for pod in pods))

    def reconcile(self):
        if self.kind == "StatefulSet":
            self.reconcile_ordered()
        else:
            self.reconcile_rolling()

    def delete_all(self):
        for pod in self.pods():
            self.node.terminate(pod)

    # Deployment

    def reconcile_rolling(self):
        pods = [pod for pod in self.pods() if not pod.terminating]
        new = [pod for pod in pods if pod.hash == self.hash]
        old = [pod for pod in pods if pod.hash != self.hash]
        want = self.replicas()

        while len(new) > want:            # the youngest of the unready first
            new.sort(key=lambda pod: pod.is_ready())
            self.node.terminate(new.pop(0))

        room = want + (1 if old else 0) - len(pods)
        while len(new) < want and room > 0:
            new.append(self.create(self.pod_name()))
            room -= 1

        ready = sum(pod.is_ready() for pod in new + old)
        for pod in sorted(old, key=lambda pod: pod.is_ready()):
            if pod.is_ready() and ready <= want:
                break
            ready -= pod.is_ready()
            self.node.terminate(pod)

    def pod_name(self):
        suffix = "".join(secrets.choice(SUFFIX) for _ in range(5))
        return f"{self.name}-{self.hash}-{suffix}"

    # StatefulSet

    def reconcile_ordered(self):
        pods = {pod.name: pod for pod in self.pods()}
        want = [f"{self.name}-{number}" for number in range(self.replicas())]
        parallel = self.object["spec"].get("podManagementPolicy") \
            == "Parallel"

        for name, pod in sorted(pods.items(), reverse=True):
            if name not in want and not pod.terminating:
                self.node.terminate(pod)
                if not parallel:
                    return

        for name in want:
            pod = pods.get(name)
            if pod is None:
                self.create(name)
            elif pod.terminating:
                return                    # its name is still taken
            if not parallel and (pod is None or not pod.is_ready()):
                break
        else:
            self.replace_last(want, pods)

    def replace_last(self, want, pods):
        """A changed template: one pod at a time, the last one first."""
        for name in reversed(want):
            pod = pods.get(name)
            if pod is not None and pod.hash != self.hash:
                self.node.terminate(pod)
                return

    # both

    def create(self, name):
        template = self.object["spec"]["template"]
        meta = copy.deepcopy(template["metadata"])
        meta["name"] = name
        meta["namespace"] = self.namespace
        labels = meta.setdefault("labels", {})
        spec = copy.deepcopy(template["spec"])

        if self.kind == "StatefulSet":
            labels["statefulset.kubernetes.io/pod-name"] = name
            labels["apps.kubernetes.io/pod-index"] = name.rpartition("-")[2]
            labels["controller-revision-hash"] = f"{self.name}-{self.hash}"
            spec.setdefault("hostname", name)
            spec.setdefault("subdomain",
                            self.object["spec"].get("serviceName", ""))
            owner = (self.kind, self.name,
                     self.object["metadata"]["uid"])
        else:
            labels["pod-template-hash"] = self.hash
            owner = ("ReplicaSet", f"{self.name}-{self.hash}",
                     self.sets.setdefault(self.hash, objects.new_uid()))

        meta["ownerReferences"] = [{
            "apiVersion": "apps/v1", "kind": owner[0], "name": owner[1],
            "uid": owner[2], "controller": True, "blockOwnerDeletion": True}]

        pod = self.node.create_pod(
            {"apiVersion": "v1", "kind": "Pod", "metadata": meta,
             "spec": spec})
        pod.controller = (self.namespace, self.kind, self.name)
        pod.hash = self.hash
        return pod
