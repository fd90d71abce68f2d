"""
Names of the cluster, served by one dnsmasq on the node: services by their
ClusterIPs, headless ones and StatefulSet pods by pod addresses.
"""

import os
import signal

from . import addresses
from . import environment
from . import linux
from . import processes

DOMAIN = "cluster.local"


def resolv_conf(namespace):
    return (f"nameserver {addresses.GATEWAYS[0]}\n"
            f"nameserver {addresses.GATEWAYS[1]}\n"
            f"search {namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}\n"
            "options ndots:5\n")


def hosts_file(pod):
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    for entry in pod.get("status", {}).get("podIPs") or []:
        lines.append(f"{entry['ip']} {environment.hostname(pod)}")
    return "\n".join(lines) + "\n"


def records(store, services):
    """Lines of a hosts file; services: endpoints.Resolved of each Service."""
    lines = []

    for service in services:
        name = f"{service.name}.{service.namespace}.svc.{DOMAIN}"

        for vip in service.vips:
            lines.append(f"{vip} {name}")

        if service.vips:
            continue

        for address, pod in service.members():
            lines.append(f"{address} {name}")
            host = _stable_name(store, service, pod)
            if host:
                lines.append(f"{address} {host}.{name}")

    return sorted(set(lines))


def _stable_name(store, service, pod):
    """A pod's own name below its headless service."""
    obj = store.get("Pod", service.namespace, pod) if pod else None
    if obj is None or obj["spec"].get("subdomain") != service.name:
        return None
    return environment.hostname(obj)


def aliases(store):
    """CNAMEs of ExternalName services, as dnsmasq options."""
    options = []
    for obj in store.all("Service"):
        spec = obj["spec"]
        if spec.get("type") == "ExternalName":
            meta = obj["metadata"]
            options.append(f"--cname={meta['name']}.{meta['namespace']}.svc."
                           f"{DOMAIN},{spec['externalName']}")
    return options


class Server:
    """The dnsmasq process and its file of names."""

    def __init__(self, node):
        self.node = node
        self.hosts = os.path.join(node.layout.dns, "hosts")
        self.lines = None
        self.options = []
        self.pid = None
        self.wanted = False

    def start(self):
        os.makedirs(self.node.layout.dns, mode=0o755, exist_ok=True)
        if self.lines is None:
            self.write([])
        self.wanted = True
        self._spawn()

    def update(self):
        """Writes what has changed and tells dnsmasq."""
        options = aliases(self.node.store)
        lines = records(self.node.store, self.node.services())

        if lines != self.lines:
            self.write(lines)
            if self.pid:
                processes.send(self.pid, signal.SIGHUP)

        if options != self.options:
            self.options = options        # no reload of these: start again
            if self.pid:
                processes.send(self.pid, signal.SIGTERM)

    def write(self, lines):
        new = self.hosts + ".new"
        with open(new, "w", encoding="ascii") as stream:
            stream.write("".join(line + "\n" for line in lines))
        os.chmod(new, 0o644)
        os.rename(new, self.hosts)
        self.lines = lines

    def _spawn(self):
        log = self.node.layout.path("logs", "dnsmasq.log")
        argv = ["/usr/sbin/dnsmasq", "--keep-in-foreground",
                "--conf-file=/dev/null", "--pid-file=", "--user=root",
                "--log-facility=-", "--no-hosts", "--no-resolv",
                f"--addn-hosts={self.hosts}", f"--local=/{DOMAIN}/",
                "--local=//", "--local-ttl=1", "--bind-interfaces",
                "--cache-size=0"]
        argv += [f"--listen-address={ip}" for ip in addresses.GATEWAYS]
        argv += self.options

        def run():
            processes.redirect(log)
            linux.set_name("dnsmasq")
            os.execv(argv[0], argv)

        self.pid = processes.fork_into(lambda: None, run, log)
        ended = self.node.reaper.watch(self.pid)
        ended.add_done_callback(self._ended)

    def _ended(self, future):
        self.pid = None
        if not self.wanted:
            return
        self.node.event(f"dnsmasq ended with {future.result()}, started "
                        "again")
        self.node.later(0.2, self._spawn)
