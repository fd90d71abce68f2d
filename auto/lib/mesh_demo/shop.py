"""
The shop as a running cluster: who its pods are, what their sidecars say on
/metrics, what their apps wrote into their logs.
"""

import collections
import http.client
import os
import time

from mesh_local import client
from mesh_local import linux

from . import metrics

ADMIN_PORT = 4191
TIMEOUT = 5.0

Pod = collections.namedtuple("Pod", "namespace name workload account meshed "
                                    "ip log")

Scrape = collections.namedtuple("Scrape", "time samples")


class Shop:
    """Reads of a cluster; scrapes from within the node's network."""

    def __init__(self):
        self.cluster = client.Cluster()
        self.pods = []

    def enter(self):
        """This process looks at the network from the node from now on."""
        pid = self.cluster.must_run()
        linux.setns(f"/proc/{pid}/ns/net", linux.CLONE_NEWNET)

    def look(self):
        status = self.cluster.call("status")
        self.pods = [
            Pod(pod["namespace"], pod["name"],
                pod["owner"][2] if pod["owner"] else pod["name"],
                pod["service_account"], pod["meshed"], pod["ips"][0],
                [c["log"] for c in pod["containers"]
                 if c["kind"] == "app"][0])
            for pod in status["pods"] if pod["namespace"] != "ngx-mesh"]
        return self.pods

    def scrape(self):
        """pod -> Samples, of every sidecar."""
        found = {pod: metrics.parse(get(pod.ip, "/metrics"))
                 for pod in self.pods if pod.meshed}
        return Scrape(time.monotonic(), found)

    def probe_answers(self):
        """(namespace, name) -> status -> kubelet's probes so answered."""
        found = {}
        for pod in self.cluster.call("status")["pods"]:
            sums = collections.Counter()
            for container in pod["containers"]:
                if container["kind"] == "app":
                    sums.update(container["probe_answers"])
            found[(pod["namespace"], pod["name"])] = sums
        return found

    def signal(self, pod, number):
        self.cluster.call("signal", namespace=pod.namespace, pod=pod.name,
                          container=None, number=number)


def get(ip, path):
    connection = http.client.HTTPConnection(ip, ADMIN_PORT, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        if answer.status != 200:
            raise OSError(f"{ip}:{ADMIN_PORT}{path}: {answer.status}")
        return body
    finally:
        connection.close()


class Log:
    """What an app says it did: counts of its lines."""

    def __init__(self, path):
        self.served = collections.Counter()    # (status, agent)
        self.sent = collections.Counter()      # (service, status)
        self.refused = collections.Counter()   # service: the mesh answered
        self.opened = collections.Counter()    # authority
        self.last = ""

        with open(path, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                self._take(line.split())

    def _take(self, words):
        if not words:
            return
        self.last = words[0]
        if words[0] == "served":
            self.served[(words[3], words[4])] += 1
        elif words[0] == "sent" and words[4] != "0":
            service = service_of(words[1])
            self.sent[(service, words[4])] += 1
            self.refused[service] += words[5] != "-"
        elif words[0] == "opened":
            self.opened[service_of(words[1])] += 1


def service_of(authority):
    """The service in "web.shop:80" or "web:80"."""
    return authority.partition(":")[0].partition(".")[0]


def read_logs(pods):
    return {pod: Log(pod.log) for pod in pods if os.path.exists(pod.log)}
