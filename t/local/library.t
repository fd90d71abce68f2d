#!/usr/bin/python3 -B

"""auto/local's decisions, without root and without a cluster."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "lib"))

import meshtap                            # it sets the path of the next ones

from mesh_demo import metrics
from mesh_local import addresses
from mesh_local import dns
from mesh_local import endpoints
from mesh_local import environment
from mesh_local import inject
from mesh_local import manifests
from mesh_local import objects
from mesh_local import proxy
from mesh_local import services
from mesh_local import volumes

POD = """
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec:
  containers:
  - name: web
    command: [/bin/true]
    ports: [{name: http, containerPort: 8080}]
"""


def pod(name="web-1", ip="10.244.0.2", ready="True"):
    obj = manifests.load_text(POD, "t")[0]
    obj["metadata"].update(name=name, uid=name)
    obj["status"] = {
        "podIPs": [{"ip": ip}, {"ip": "fd00:244::" + ip[-1]}],
        "podIP": ip,
        "conditions": [{"type": "Ready", "status": ready}]}
    return obj


def service(text="{}", name="web"):
    return manifests.load_text(f"""
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {text}
""", "t")[0]


def store():
    root = tempfile.mkdtemp()
    for name in ("objects", "spool"):
        os.mkdir(os.path.join(root, name))
    return objects.Store(os.path.join(root, "objects"),
                         os.path.join(root, "spool"))


def complaint(text):
    try:
        manifests.load_text(text, "f.yaml")
    except manifests.Bad as error:
        return str(error)
    return ""


def manifests_complain(t):
    t.has(complaint("kind: [}"), "f.yaml", "bad YAML names the file")
    t.has(complaint("kind: Pod\nmetadata: {name: a}"), "no containers",
          "a pod without containers")
    t.has(complaint("kind: Pod\nmetadata: {name: a}\nspec: {containers: "
                    "[{name: b, image: c}]}"), "no command",
          "a container without a command")
    t.has(complaint(POD + "    volumeMounts: [{name: v, mountPath: /v}]"),
          'volume "v"', "a mount of a volume that is not there")
    t.has(complaint("kind: Job\nmetadata: {name: a}"), "cannot be played",
          "a kind that is not played")
    t.has(complaint("kind: Deployment\nmetadata: {name: a}\nspec: "
                    "{selector: {matchLabels: {a: b}}, template: {spec: "
                    "{containers: [{name: c, command: [d]}]}}}"),
          "does not match", "a selector that does not match")


def manifests_default(t):
    found = manifests.load_text(
        "kind: List\nitems:\n- {kind: Service, metadata: {name: a}, "
        "spec: {ports: [{port: 80}]}}\n---\n---\n" + POD, "t")
    t.equal(len(found), 2, "a List is opened, empty documents are skipped")
    t.equal(found[0]["spec"]["ports"],
            [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "a port's defaults")
    t.equal(found[0]["metadata"]["namespace"], "default", "the namespace")


def addresses_are_not_reused_at_once(t):
    pods = addresses.pods()
    first = pods.take()
    t.equal(first, ["10.244.0.2", "fd00:244::2"], "the first pair")
    pods.give_back(first)
    t.equal(pods.take()[0], "10.244.0.3", "the next is another one")
    t.equal(pods.claim("10.244.0.9"), None, "a given one")
    t.has(pods.claim("10.244.0.9"), "in use", "not twice")
    t.has(pods.claim("10.1.0.9"), "is not in", "not of another network")


def services_get_addresses(t):
    vips = addresses.vips()
    one = service()
    services.give_addresses(one, None, vips)
    t.equal(one["spec"]["clusterIPs"], ["10.96.0.10", "fd00:96::a"],
            "both families by default")

    again = service()
    services.give_addresses(again, one, vips)
    t.equal(again["spec"]["clusterIPs"], one["spec"]["clusterIPs"],
            "a changed Service keeps them")

    single = service("{ipFamilyPolicy: SingleStack}", "b")
    services.give_addresses(single, None, vips)
    t.equal(single["spec"]["clusterIPs"], ["10.96.0.11"], "one when asked")

    headless = service("{clusterIP: None}", "c")
    services.give_addresses(headless, None, vips)
    t.equal(headless["spec"]["clusterIPs"], ["None"], "none when headless")

    try:
        services.give_addresses(service("{clusterIP: 10.96.0.10}", "d"),
                                None, vips)
        t.ok(False, "a taken address is refused")
    except manifests.Bad as error:
        t.has(str(error), "in use", "a taken address is refused")


def resolve_takes_ready_ones(t):
    its = store()
    web = service("{selector: {app: web}, ports: [{port: 80, "
                  "targetPort: http}, {port: 81, targetPort: none}]}")
    web["spec"]["clusterIPs"] = ["10.96.0.10", "fd00:96::a"]
    its.put(web)
    its.put(pod())
    its.put(pod("web-2", "10.244.0.3", "False"))
    found = endpoints.resolve(its)[0]

    t.equal(found.of_port(web["spec"]["ports"][0], 4),
            [("10.244.0.2", 8080)], "only the ready one, port by name")
    t.equal(found.of_port(web["spec"]["ports"][0], 6),
            [("fd00:244::2", 8080)], "and by IPv6")
    t.equal(found.of_port(web["spec"]["ports"][1], 4), [],
            "a port that no container names")

    text = proxy.ruleset([found])
    t.has(text, "10.96.0.10 . tcp . 80 : goto svc0", "the VIP has a rule")
    t.has(text, "dnat ip to 10.244.0.2:8080", "to the pod")
    t.ok("10.96.0.10 . tcp . 81" not in text, "none without endpoints")
    t.equal(dns.records(its, [found]),
            ["10.96.0.10 web.shop.svc.cluster.local",
             "fd00:96::a web.shop.svc.cluster.local"], "names of VIPs")


def headless_names_are_pods(t):
    its = store()
    its.put(service("{clusterIP: None, clusterIPs: [None], selector: "
                    "{app: web}}"))
    one = pod()
    one["spec"].update(hostname="web-1", subdomain="web")
    its.put(one)
    t.equal(dns.records(its, endpoints.resolve(its)),
            ["10.244.0.2 web-1.web.shop.svc.cluster.local",
             "10.244.0.2 web.shop.svc.cluster.local",
             "fd00:244::2 web-1.web.shop.svc.cluster.local",
             "fd00:244::2 web.shop.svc.cluster.local"],
            "the service's name and the pod's own")


def slices_count_too(t):
    its = store()
    its.put(service("{ports: [{name: a, port: 80}]}"))
    its.put({"kind": "EndpointSlice",
             "metadata": {"name": "s", "namespace": "shop", "labels": {
                 "kubernetes.io/service-name": "web"}},
             "ports": [{"name": "a", "port": 99}],
             "endpoints": [
                 {"addresses": ["10.1.1.1"]},
                 {"addresses": ["10.1.1.2"],
                  "conditions": {"ready": False}}]})
    found = endpoints.resolve(its)[0]
    t.equal(found.of_port(found.ports[0], 4), [("10.1.1.1", 99)],
            "a slice's ready endpoint")


def store_writes_files(t):
    its = store()
    its.put({"kind": "Secret", "metadata": {"name": "a", "namespace": "b"}})
    its.put(pod())
    t.equal(os.listdir(its.directory), ["pod_shop_web-1.yaml"],
            "public objects only")
    version = its.get("Pod", "shop", "web-1")["metadata"]["resourceVersion"]
    its.put(its.get("Pod", "shop", "web-1"))
    t.equal(its.get("Pod", "shop", "web-1")["metadata"]["resourceVersion"],
            version, "an unchanged one keeps its version")
    its.remove("Pod", "shop", "web-1")
    t.equal(os.listdir(its.directory), [], "and is gone")


def environment_expands(t):
    env = {"A": "x"}
    t.equal(environment.expand("$(A) $(B) $$(A)", env), "x $(B) $(A)",
            "as Kubernetes does")
    t.equal(environment.field(pod(), "metadata.labels['app']"), "web",
            "a label by the downward API")
    t.equal(environment.field(pod(), "status.podIPs"),
            "10.244.0.2,fd00:244::2", "the addresses")


def sidecar_is_injected_by_label(t):
    namespace = {"metadata": {"labels": {manifests.INJECT: "enabled"}}}
    one = pod()
    t.ok(manifests.wants_sidecar(one, namespace), "the namespace's label")
    one["metadata"]["labels"][manifests.INJECT] = "disabled"
    t.ok(not manifests.wants_sidecar(one, namespace), "the pod's goes first")

    settings = {"workers": 2, "env": ["A=b"], "trust_domain": "td"}
    made = inject.inject(pod(), settings)
    t.ok(inject.is_injected(made), "it is marked")
    t.equal([c["name"] for c in made["spec"]["initContainers"]],
            ["ngx-mesh-redirect", "ngx-mesh"], "rules, then the sidecar")
    sidecar = made["spec"]["initContainers"][1]
    t.ok(manifests.is_sidecar(sidecar), "which is a native one")
    t.ok("--workers=2" in sidecar["args"], "with its options")
    t.ok({"name": "A", "value": "b"} in sidecar["env"], "and variables")

    bad = pod()
    bad["spec"]["containers"][0]["securityContext"] = {"runAsUser": 2102}
    try:
        inject.inject(bad, settings)
        t.ok(False, "an app with the sidecar's user is refused")
    except inject.Refused as error:
        t.has(str(error), "2102", "an app with the sidecar's user is refused")


def tokens_have_lines(t):
    path = os.path.join(tempfile.mkdtemp(), "tokens.csv")
    tokens = volumes.Tokens(path)
    token = tokens.of("shop", "web")
    t.equal(tokens.of("shop", "web"), token, "one token per account")
    with open(path, encoding="ascii") as stream:
        line = stream.read()
    t.ok(line.startswith(f"{token},system:serviceaccount:shop:web,"),
         "in kube-apiserver's format", line)


def metrics_are_read(t):
    one = metrics.parse('# TYPE a counter\na{b="c\\"d",e="f"} 3\n'
                        'a{b="x",e="f"} 4\ng 1.5\n')
    t.equal(one.sum("a", e="f"), 7.0, "a sum by label")
    t.equal(one.sum("a", b='c"d'), 3.0, "an escaped label")
    t.equal(metrics.quantile({1.0: 5, 2.0: 10, float("inf"): 10}, 0.5), 1.0,
            "the median")
    t.equal(metrics.quantile({1.0: 0, 2.0: 10, float("inf"): 10}, 0.95),
            1.95, "a quantile within a bucket")
    t.equal(metrics.quantile({1.0: 0, float("inf"): 0}, 0.5), None,
            "none of nothing")


sys.exit(meshtap.Tap().run([
    manifests_complain, manifests_default, addresses_are_not_reused_at_once,
    services_get_addresses, resolve_takes_ready_ones,
    headless_names_are_pods, slices_count_too, store_writes_files,
    environment_expands, sidecar_is_injected_by_label, tokens_have_lines,
    metrics_are_read]))
