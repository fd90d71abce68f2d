"""Which pods stand behind a service port now: what kube-proxy and DNS use."""

from . import addresses
from . import manifests


class Resolved:
    """One Service, with the endpoints of each of its ports."""

    def __init__(self, service, pods, slices):
        meta = service["metadata"]
        self.namespace = meta["namespace"]
        self.name = meta["name"]
        self.object = service
        self.spec = service["spec"]
        self.vips = [ip for ip in self.spec.get("clusterIPs") or []
                     if ip != "None"]
        self.ports = self.spec.get("ports") or []
        self.pods = pods
        self.slices = slices

    def of_port(self, port, family):
        """Sorted (address, port) of the ready endpoints of one family."""
        found = set()

        for pod in self.pods:
            number = target_number(pod, port["targetPort"])
            if number is not None and is_ready(pod):
                found.update((ip, number) for ip in ips_of(pod))

        for item in self.slices:
            number = _slice_port(item, port)
            if number is None:
                continue
            for endpoint in item.get("endpoints") or []:
                conditions = endpoint.get("conditions") or {}
                if conditions.get("ready", True) is not False:
                    found.update((ip, number)
                                 for ip in endpoint["addresses"])

        return sorted(entry for entry in found
                      if addresses.family(entry[0]) == family)

    def members(self):
        """(address, pod name or None) for the name of a headless service."""
        anyway = self.spec.get("publishNotReadyAddresses")
        found = [(ip, pod["metadata"]["name"]) for pod in self.pods
                 if anyway or is_ready(pod) for ip in ips_of(pod)]

        for item in self.slices:
            for endpoint in item.get("endpoints") or []:
                name = (endpoint.get("targetRef") or {}).get("name")
                found += [(ip, name) for ip in endpoint["addresses"]]

        return found


def resolve(store):
    """All Services of the store."""
    pods = {}
    for pod in store.all("Pod"):
        pods.setdefault(pod["metadata"]["namespace"], []).append(pod)

    slices = {}
    for item in store.all("EndpointSlice"):
        meta = item["metadata"]
        owner = (meta.get("labels") or {}).get("kubernetes.io/service-name")
        slices.setdefault((meta["namespace"], owner), []).append(item)

    resolved = []
    for service in store.all("Service"):
        meta = service["metadata"]
        selector = service["spec"].get("selector")
        members = [pod for pod in pods.get(meta["namespace"], [])
                   if selector and manifests.matches(
                       selector, pod["metadata"].get("labels"))]
        resolved.append(Resolved(
            service, members,
            slices.get((meta["namespace"], meta["name"]), [])))
    return resolved


def is_ready(pod):
    if pod["metadata"].get("deletionTimestamp"):
        return False
    return any(c["type"] == "Ready" and c["status"] == "True"
               for c in pod.get("status", {}).get("conditions") or [])


def ips_of(pod):
    return [entry["ip"] for entry in pod["status"].get("podIPs") or []]


def target_number(pod, target):
    """A targetPort by number or by the name that a container gives it."""
    if isinstance(target, int):
        return target

    for container in manifests.all_containers(pod["spec"]):
        for port in container.get("ports") or []:
            if port.get("name") == target:
                return port["containerPort"]
    return None


def _slice_port(item, port):
    """The number of a service port in an EndpointSlice, by name."""
    ports = item.get("ports") or []
    for entry in ports:
        if (entry.get("name") or "") == (port.get("name") or ""):
            return entry["port"]
    return None
