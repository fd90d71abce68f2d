"""What mesh:* must hold for a set of Kubernetes objects: an evaluation of its
own, over all objects each time, which shares nothing with controller/watch.
"""

import ipaddress

INJECTED = "ngx-mesh.io/status"
OPAQUE = "ngx-mesh.io/opaque-ports"
ZONE = "topology.kubernetes.io/zone"
BY_PROTOCOL = {"http": "http1", "kubernetes.io/ws": "http1",
               "kubernetes.io/h2c": "http2", "grpc": "http2", "h2c": "http2",
               "http2": "http2", "https": "tls", "tls": "tls",
               "kubernetes.io/wss": "tls"}
BY_NAME = {"http": "http1", "http1": "http1", "grpc": "http2",
           "h2c": "http2", "http2": "http2", "https": "tls", "tls": "tls"}
RAW = ("tcp", "redis", "mysql", "postgres", "mongo", "smtp", "kafka")


def canonical(ip):
    return str(ipaddress.ip_address(ip))


def family(ip):
    return ipaddress.ip_address(ip).version


def meta(obj, name):
    return obj["metadata"].get(name) or {}


def by_name(name):
    word = name.split("-")[0].lower()
    return BY_NAME.get(word, "opaque" if word in RAW else "detect")


def opaque_ports(obj, namespace):
    for holder in (obj, namespace):
        text = holder and meta(holder, "annotations").get(OPAQUE)
        if text is not None and text is not False:
            ports = set()
            for part in filter(None, (p.strip() for p in text.split(","))):
                low, _, high = part.partition("-")
                ports.update(range(int(low), int(high or low) + 1))
            return ports
    return set()


class Truth:
    def __init__(self, objects, trust_domain="cluster.local"):
        self.domain = trust_domain
        kinds = {}
        for obj in objects:
            kinds.setdefault(obj["kind"], []).append(obj)
        self.namespaces = {o["metadata"]["name"]: o
                           for o in kinds.get("Namespace", [])}
        self.zones = {o["metadata"]["name"]: meta(o, "labels").get(ZONE, "")
                      for o in kinds.get("Node", [])}
        self.pods = {self.key(o): o for o in kinds.get("Pod", [])}
        self.services = kinds.get("Service", [])
        self.slices = kinds.get("EndpointSlice", [])

    @staticmethod
    def key(obj):
        return obj["metadata"]["namespace"], obj["metadata"]["name"]

    def documents(self):
        found = {}
        owners = {}                       # address -> the pod that has it
        for key, pod in sorted(self.pods.items()):
            if self.over(pod):
                continue
            found["mesh:wl:%s/%s" % key] = self.workload(pod)
            if not pod["spec"].get("hostNetwork"):
                for ip in self.addresses(pod):
                    owners.setdefault(ip, []).append(key)
        for ip, keys in owners.items():
            assert len(keys) == 1, "the test gave two pods one address"
            found["mesh:ip:" + ip] = {"workload": "%s/%s" % keys[0]}
        self.owners = {ip: keys[0] for ip, keys in owners.items()}
        for service in self.services:
            if service["spec"].get("type") != "ExternalName":
                self.service(service, found)
        return found

    @staticmethod
    def over(pod):
        return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")

    @staticmethod
    def addresses(pod):
        status = pod.get("status", {})
        ips = [entry["ip"] for entry in status.get("podIPs") or []]
        if not ips and status.get("podIP"):
            ips = [status["podIP"]]
        return [canonical(ip) for ip in ips]

    def meshed(self, pod):
        return not pod["spec"].get("hostNetwork") and \
            meta(pod, "annotations").get(INJECTED) == "injected"

    def identity(self, pod):
        return "spiffe://%s/ns/%s/sa/%s" % (
            self.domain, pod["metadata"]["namespace"],
            pod["spec"].get("serviceAccountName", "default"))

    @staticmethod
    def owner(pod):
        owners = pod["metadata"].get("ownerReferences") or []
        chosen = [o for o in owners if o.get("controller")] or owners[:1]
        if not chosen:
            return None
        kind, name = chosen[0]["kind"].lower(), chosen[0]["name"]
        label = meta(pod, "labels").get("pod-template-hash")
        if kind == "replicaset" and label and name.endswith("-" + label):
            return {"kind": "deployment", "name": name[:-len(label) - 1]}
        return {"kind": kind, "name": name}

    @staticmethod
    def ports(pod):
        spec = pod["spec"]
        containers = spec.get("containers", []) + [
            c for c in spec.get("initContainers", [])
            if c.get("restartPolicy") == "Always"]
        return [p for c in containers for p in c.get("ports") or []
                if p.get("protocol", "TCP") == "TCP"]

    def pod_opaque(self, pod):
        return opaque_ports(pod, self.namespaces.get(
            pod["metadata"]["namespace"]))

    def place(self, pod, body):
        """owner, node and zone are left out where there are none."""
        node = pod["spec"].get("nodeName", "")
        for name, value in (("owner", self.owner(pod)), ("node", node),
                            ("zone", self.zones.get(node, ""))):
            if value:
                body[name] = value

    def workload(self, pod):
        raw = self.pod_opaque(pod)
        body = {
            "namespace": pod["metadata"]["namespace"],
            "pod": pod["metadata"]["name"],
            "serviceAccount": pod["spec"].get("serviceAccountName",
                                              "default"),
            "identity": self.identity(pod), "meshed": self.meshed(pod),
            "addresses": [] if pod["spec"].get("hostNetwork")
            else self.addresses(pod),
            "ports": [self.port(p, "opaque" if p["containerPort"] in raw
                                else by_name(p.get("name", "")),
                                "containerPort") for p in self.ports(pod)]}
        self.place(pod, body)
        return body

    @staticmethod
    def port(port, protocol, field):
        body = {"port": port[field], "protocol": protocol}
        if port.get("name"):
            body["name"] = port["name"]
        return body

    def service(self, service, found):
        namespace, name = self.key(service)
        spec = service["spec"]
        ips = [canonical(ip) for ip in spec.get("clusterIPs") or
               [spec.get("clusterIP")] if ip not in (None, "", "None")]
        ports = [p for p in spec.get("ports") or []
                 if p.get("protocol", "TCP") == "TCP"]
        body = {"namespace": namespace, "name": name, "addresses": ips,
                "ports": []}
        first = family(ips[0]) if ips else \
            {"IPv6": 6, "IPv4": 4}.get((spec.get("ipFamilies") or [""])[0], 4)
        for port in ports:
            body["ports"].append(self.service_port(service, port, first))
            for ip in ips:
                where = f"[{ip}]" if ":" in ip else ip
                found[f"mesh:vip:{where}:{port['port']}"] = {
                    "service": f"{namespace}/{name}", "port": port["port"]}
        found[f"mesh:svc:{namespace}/{name}"] = body

    def service_port(self, service, port, first):
        namespace, name = self.key(service)
        slices = [s for s in self.slices
                  if s["metadata"]["namespace"] == namespace and
                  meta(s, "labels").get("kubernetes.io/service-name") == name]
        said = port.get("appProtocol", "")
        if slices:
            endpoints, theirs = self.by_slices(slices, port)
            said = said or theirs
        else:
            endpoints = self.by_selector(service, port, first)
        seen, kept = set(), []
        pods_in_first = {e[2] for e in endpoints
                         if e[2] and family(e[0]) == first}
        for address, number, pod, node, zone in sorted(
                endpoints, key=lambda e: (e[0], e[1])):
            other = pod and family(address) != first and \
                pod in pods_in_first and len(self.addresses(
                    self.pods[pod])) > 1
            if other or (address, number) in seen:
                continue
            seen.add((address, number))
            kept.append(self.endpoint(address, number, pod, node, zone))
        raw = port["port"] in opaque_ports(
            service, self.namespaces.get(namespace)) or any(
                pod and number in self.pod_opaque(self.pods[pod])
                for _, number, pod, _, _ in endpoints)
        protocol = "opaque" if raw else \
            BY_PROTOCOL.get(said.lower(), "opaque") if said else \
            by_name(port.get("name", ""))
        body = self.port(port, protocol, "port")
        body["endpoints"] = kept
        return body

    def by_slices(self, slices, port):
        endpoints, said = [], ""
        for one in slices:
            for p in one.get("ports") or []:
                if (p.get("name") or "") != port.get("name", "") or \
                        p.get("protocol", "TCP") != "TCP":
                    continue
                said = max(said, p.get("appProtocol") or "")
                for e in one.get("endpoints") or []:
                    self.slice_endpoint(one, e, p["port"], endpoints)
        return endpoints, said

    def slice_endpoint(self, one, e, number, endpoints):
        if (e.get("conditions") or {}).get("ready") is False:
            return
        address = canonical(e["addresses"][0])
        pod = self.owners.get(address)
        ref = e.get("targetRef")
        if ref and ref.get("kind") == "Pod":
            named = (ref.get("namespace", one["metadata"]["namespace"]),
                     ref["name"])
            if named not in self.pods or self.over(self.pods[named]) or \
                    address not in self.addresses(self.pods[named]):
                return
            if self.pods[named]["spec"].get("hostNetwork"):
                pod = named
            if pod != named:
                return
        endpoints.append((address, number, pod, e.get("nodeName", ""),
                          e.get("zone", "")))

    def by_selector(self, service, port, first):
        selector = service["spec"].get("selector") or {}
        early = service["spec"].get("publishNotReadyAddresses")
        endpoints = []
        for key, pod in self.pods.items():
            labels = meta(pod, "labels")
            ips = self.addresses(pod)
            ready = pod.get("status", {}).get("phase") == "Running" and any(
                c["type"] == "Ready" and c["status"] == "True"
                for c in pod["status"].get("conditions") or []) and \
                not pod["metadata"].get("deletionTimestamp")
            if key[0] != service["metadata"]["namespace"] or not selector or \
                    any(labels.get(k) != v for k, v in selector.items()) or \
                    self.over(pod) or not ips or not (early or ready):
                continue
            target = port.get("targetPort") or port["port"]
            if isinstance(target, str):
                named = [p["containerPort"] for p in self.ports(pod)
                         if p.get("name") == target]
                if not named:
                    continue
                target = named[0]
            own = [ip for ip in ips if family(ip) == first] or ips
            endpoints.append((own[0], target, key, "", ""))
        return endpoints

    def endpoint(self, address, number, key, node, zone):
        body = {"address": address, "port": number, "weight": 1,
                "meshed": False}
        if key:
            pod = self.pods[key]
            body.update({"workload": "%s/%s" % key,
                         "identity": self.identity(pod),
                         "meshed": self.meshed(pod),
                         "serviceAccount": pod["spec"].get(
                             "serviceAccountName", "default")})
            self.place(pod, body)
        if node:
            body.setdefault("node", node)
        if zone:
            body.setdefault("zone", zone)
        return body
