"""meshd watch on an API server of kubeapi.py, with a real Redis."""

import json
import os
import random
import resource
import time

from kubeapi import Api
from meshtap import until
from meshtruth import Truth
from meshwatch import BUILD, World, pod, service


class KubeWorld(World):
    def __init__(self, api=None, seed=1):
        super().__init__()
        self.api = api or Api(seed)
        self.user = {}
        self.cluster = {}

    def __enter__(self):
        super().__enter__()
        self.api.start()
        self.kubeconfig()
        return self

    def __exit__(self, *what):
        try:
            super().__exit__(*what)
        finally:
            self.api.stop()

    def kubeconfig(self, server=None):
        """JSON is YAML."""
        self.write("kubeconfig", json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "c",
                                                   "user": "u"}}],
            "clusters": [{"name": "c", "cluster": dict(
                self.cluster, server=server or self.api.url())}],
            "users": [{"name": "u", "user": self.user}]}))

    def start_watch(self, name="watch", *options, state=None, where=None):
        self.launch(name, *self.words(name, state),
                    *(where or ["--kubeconfig=" + self.path("kubeconfig")]),
                    *self.options, *options)

    def words(self, name, state=None):
        return [os.path.join(BUILD, "meshd"), "watch",
                "--redis=unix:" + self.path("redis.sock"),
                "--redis-user=watch",
                "--redis-password-file=" + self.path("password"),
                f"--identity=127.0.0.1:{self.port}",
                "--token=" + self.path("token"),
                "--trust=" + self.path("ca/trust.crt"),
                "--epoch-min=1",
                "--state-dir=" + self.path(state or "state-" + name)]

    def truth(self):
        return Truth(self.api.objects()).documents()

    def true(self, seconds=10.0):
        """Redis equals what the API server's objects mean, or why not."""
        last = []

        def check():
            if not self.synced():
                return False
            last[:] = [self.documents(), self.truth()]
            return last[0] == last[1]

        if until(check, seconds):
            return ""
        if not last:
            return "never complete\n" + self.log()[-3000:]
        have, want = last
        for key in sorted(set(have) | set(want)):
            if have.get(key) != want.get(key):
                return (f"{key}:\nhave {have.get(key)}\n"
                        f"want {want.get(key)}\n" + self.log()[-3000:])
        return ""

    def cpu(self, name="watch"):
        """Seconds of CPU so far."""
        with open(f"/proc/{self.processes[name].pid}/stat",
                  encoding="ascii") as file:
            words = file.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, name="watch", field="VmHWM"):
        """Bytes resident; VmHWM: the most there ever were."""
        with open(f"/proc/{self.processes[name].pid}/status",
                  encoding="ascii") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        return 0


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def endpoint_slice(name, owner, *addresses, pods=(), ready=True, port=8080,
                   port_name="http", namespace="shop"):
    return {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace,
                         "labels": {"kubernetes.io/service-name": owner}},
            "addressType": "IPv6" if ":" in addresses[0] else "IPv4",
            "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
            "endpoints": [dict({
                "addresses": [address],
                "conditions": {"ready": ready, "serving": ready,
                               "terminating": False}},
                **({"targetRef": {"kind": "Pod", "namespace": namespace,
                                  "name": pods[i]}} if i < len(pods) else {}))
                for i, address in enumerate(addresses)]}


def namespace(name, **annotations):
    return {"kind": "Namespace", "metadata": {
        "name": name, "annotations": {
            "ngx-mesh.io/" + key.replace("_", "-"): value
            for key, value in annotations.items()}}}


def node(name, zone):
    return {"kind": "Node", "metadata": {
        "name": name, "labels": {"topology.kubernetes.io/zone": zone}},
        "status": {"images": [{"names": ["x"] * 20}] * 20}}


class Churn:
    """Random operations, seeded: what a cluster does all day."""

    def __init__(self, api, seed, size=12):
        self.api = api
        self.random = random.Random(seed)
        self.size = size
        self.ips = 0

    def ip(self):
        """Each only once: two pods of one address are no cluster's."""
        self.ips += 1
        return f"10.{244 + self.ips // 60000}.{self.ips // 250 % 240}." \
               f"{self.ips % 250 + 1}"

    def step(self):
        self.random.choice([self.pod, self.pod, self.pod, self.service,
                            self.slice, self.slice, self.other])()

    def held(self, kind):
        return {(o["metadata"].get("namespace", ""), o["metadata"]["name"]): o
                for o in self.api.objects(kind)}

    def pod(self):
        name = f"p{self.random.randrange(self.size * 2)}"
        ns = self.random.choice(["shop", "lab"])
        held = self.held("Pod").get((ns, name))
        if held and self.random.random() < 0.3:
            self.api.delete("Pod", name, ns)
            return
        made = pod(name, self.ip(), ns,
                   app=f"a{self.random.randrange(self.size // 2)}",
                   ready=self.random.random() < 0.7,
                   meshed=self.random.random() < 0.5,
                   account=self.random.choice(["default", "web"]))
        if held and self.random.random() < 0.7:
            made["status"]["podIP"] = held["status"]["podIP"]
            made["status"]["podIPs"] = held["status"]["podIPs"]
        made["spec"]["nodeName"] = f"n{self.random.randrange(3)}"
        if self.random.random() < 0.1:
            made["status"]["phase"] = "Succeeded"
        self.api.put(made)

    def service(self):
        number = self.random.randrange(self.size)
        ns = self.random.choice(["shop", "lab"])
        held = self.held("Service").get((ns, f"s{number}"))
        if held and self.random.random() < 0.3:
            self.api.delete("Service", f"s{number}", ns)
            return
        made = service(f"s{number}",
                       f"10.96.{['shop', 'lab'].index(ns)}.{number + 1}", ns,
                       app=f"a{self.random.randrange(self.size // 2)}",
                       port=self.random.choice([80, 8080, 3306]),
                       target=self.random.choice([8080, "http", 9090]),
                       port_name=self.random.choice(["http", "tcp-x", ""]))
        self.api.put(made)

    def slice(self):
        ns = self.random.choice(["shop", "lab"])
        name = f"e{self.random.randrange(self.size)}"
        if (ns, name) in self.held("EndpointSlice") and \
                self.random.random() < 0.4:
            self.api.delete("EndpointSlice", name, ns)
            return
        pods = [o for (n, _), o in self.held("Pod").items() if n == ns]
        self.random.shuffle(pods)
        pods = pods[:self.random.randrange(1, 4)]
        if not pods:
            return
        self.api.put(endpoint_slice(
            name, f"s{self.random.randrange(self.size)}",
            *[o["status"]["podIP"] for o in pods],
            pods=[o["metadata"]["name"] for o in pods],
            ready=self.random.random() < 0.8, namespace=ns,
            port_name=self.random.choice(["http", ""])))

    def other(self):
        if self.random.random() < 0.5:
            self.api.put(node(f"n{self.random.randrange(3)}",
                              self.random.choice("abc")))
        else:
            self.api.put(namespace(self.random.choice(["shop", "lab"]),
                                   opaque_ports=self.random.choice(
                                       ["", "8080", "3306,9000-9100"])))


def wait(seconds):
    """What must not happen in this time cannot be waited for."""
    time.sleep(seconds)
