#!/usr/bin/python3 -B

"""auto/local with plain pods: network, names, services, probes, life."""

import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "lib"))

import yaml

import meshtap

HERE = os.path.dirname(os.path.abspath(__file__))
PLAIN = os.path.join(HERE, "manifests", "plain.yaml")

cluster = meshtap.Cluster()


def get(pod, url):
    code, text = cluster.exec(pod, "curl", "-sS", "-m", "3", url)
    return text if code == 0 else f"curl {code}: {text}"


def comes_up(t):
    code, text = cluster.up("--plain", "--timeout", "30", PLAIN)
    t.equal(code, 0, "up")
    t.has(text, "4 pods are ready", "all pods are ready")
    t.equal(cluster.pods("plain/store"), ["plain/store-0", "plain/store-1"],
            "a StatefulSet's names")
    code, text = cluster.up("--plain", PLAIN)
    t.equal(code, 1, "a second one in the same directory is refused")


def containers_are_set_up(t):
    web = cluster.pods("plain/web")[0]
    _, text = cluster.exec(web, "sh", "-c", "id -u; grep CapBnd "
                           "/proc/self/status; echo $WHERE; pwd; cat "
                           "/data/first /etc/settings/greeting; "
                           "wc -c < /var/run/token/token; cat /proc/1/comm; "
                           "touch /app/x; ls /tmp /run")
    ip = [p for p in cluster.status()["pods"] if web.endswith(p["name"])]
    t.has(text, "1000\nCapBnd:\t0000000000000000\n", "user, no capability")
    t.has(text, ip[0]["ips"][0] + ":8080\n/app\nmade\nhello43\n",
          "variables, directory, volumes, token")
    t.has(text, "python3\n", "a PID namespace of its own")
    t.has(text, "Read-only file system", "a read-only volume")
    t.equal(cluster.exec(web, "sh", "-c", "exit 3")[0], 3, "exec's code")


def services_reach_pods(t):
    web = cluster.pods("plain/web")[0]
    store = "plain/store-0"

    for url in ("http://web/", "http://web.plain/",
                "http://web.plain.svc.cluster.local/"):
        t.has(get(store, url), "web-", f"{url} answers")

    for family in ("-4", "-6"):
        seen = set()
        for _ in range(30):
            _, text = cluster.exec(store, "curl", "-sS", family,
                                   "http://web/")
            seen.add(text.split()[0])
            if len(seen) == 2:
                break
        t.equal(len(seen), 2, f"curl {family}: both pods answer")

    source = get(store, "http://web/").split()[-1]
    t.ok(source in cluster_ips(store), "the pod's own address is seen")
    t.has(get(web, "http://web/"), "web-", "a pod reaches its own service")

    start = time.monotonic()
    t.has(get(store, "http://nobody/"), "curl 7", "no endpoint: refused")
    t.ok(time.monotonic() - start < 2, "at once")
    t.has(get(store, "http://store-1.store:8080/"), "store-1",
          "a StatefulSet pod by its name")
    _, text = cluster.exec(store, "getent", "ahosts", "store")
    t.equal(len({line.split()[0] for line in text.splitlines()}), 4,
            "a headless name is all pods, both families")


def cluster_ips(pod):
    return [ip for p in cluster.status()["pods"]
            if f"{p['namespace']}/{p['name']}" == pod for ip in p["ips"]]


def endpoints_of_web():
    return [s["ports"][0]["ready"] for s in cluster.status()["services"]
            if s["name"] == "web"][0]


def restarts_of(pod):
    return [c["restarts"] for p in cluster.status()["pods"]
            if f"{p['namespace']}/{p['name']}" == pod
            for c in p["containers"] if c["kind"] == "app"][0]


def probes_are_played(t):
    web = cluster.pods("plain/web")[0]
    cluster.exec(web, "touch", "/tmp/unready")
    t.ok(meshtap.until(lambda: endpoints_of_web() == 1),
         "an unready pod is no endpoint")
    with open(cluster.root + f"/objects/pod_{web.replace('/', '_')}.yaml",
              encoding="utf-8") as stream:
        status = yaml.safe_load(stream)["status"]
    t.equal([c["status"] for c in status["conditions"]
             if c["type"] == "Ready"], ["False"], "its file says so")
    cluster.exec(web, "rm", "/tmp/unready")
    t.ok(meshtap.until(lambda: endpoints_of_web() == 2), "and is again")

    cluster.exec(web, "touch", "/tmp/dead")
    t.ok(meshtap.until(lambda: restarts_of(web) == 1),
         "a container that is not alive is started again")
    t.equal(cluster.local("wait")[0], 0, "and gets ready")

    cluster.local("signal", "KILL", "plain/store-1")
    t.ok(meshtap.until(lambda: restarts_of("plain/store-1") == 1),
         "a killed one too")
    t.equal(cluster.local("wait")[0], 0, "and gets ready")


def workloads_change(t):
    with open(PLAIN, encoding="utf-8") as stream:
        text = stream.read()
    text = text.replace("path: .", f"path: {HERE}/manifests")

    code, out = cluster.local("apply", "--wait", "-", text=text)
    t.has(out, "Service plain/web: unchanged", "what is the same stays")

    before = set(cluster.pods("plain/web"))
    text = text.replace("greeting: hello", "greeting: good day")
    text = text.replace("$(POD_IP):8080", "$(POD_IP)")
    code, out = cluster.local("apply", "--wait", "-", text=text)
    t.equal(code, 0, "apply of a changed template")
    after = set(cluster.pods("plain/web"))
    t.equal((len(after), after & before), (2, set()), "all pods are new")
    t.equal(cluster.exec(after.pop(), "cat", "/etc/settings/greeting")[1],
            "good day", "a ConfigMap is followed")

    cluster.local("scale", "plain/web", "4")
    t.equal(cluster.local("wait")[0], 0, "scale up")
    t.equal(len(cluster.pods("plain/web")), 4, "to four")
    cluster.local("scale", "plain/web", "1")
    cluster.local("wait")
    t.equal(len(cluster.pods("plain/web")), 1, "and down to one")

    cluster.local("restart", "--wait", "plain/store-0")
    t.equal(restarts_of("plain/store-0"), 1, "restart keeps the pod")
    cluster.local("delete", "--wait", "Pod", "plain/store-0")
    t.equal(restarts_of("plain/store-0"), 0, "delete makes a new one")

    cluster.local("delete", "--wait", "Namespace", "plain")
    t.equal(cluster.pods("plain/"), [], "delete of a namespace")


def bad_objects_are_refused(t):
    code, text = cluster.local("apply", "-", text="kind: Pod\n")
    t.equal((code, "not a Kubernetes object" in text), (1, True),
            "a document that is no object")
    code, text = cluster.local("exec", "plain/nosuch", "--", "true")
    t.equal((code, "no pod" in text), (1, True), "a pod that is not there")


def everything_ends(t):
    pid = cluster.status()["supervisor"]
    os.kill(pid, signal.SIGKILL)
    t.ok(meshtap.until(lambda: not mentions(cluster.root)),
         "kill -9 of the supervisor ends every process")
    t.equal(cluster.local("status")[0], 1, "status says so")
    t.equal(cluster.local("down")[0], 0, "down cleans up")
    t.ok(not os.path.exists(cluster.root), "the directory is gone")
    with open("/proc/mounts", encoding="utf-8") as stream:
        t.ok(cluster.root not in stream.read(), "no mount is left")


def a_failure_is_told(t):
    code, text = cluster.up("--plain", "--timeout", "2", PLAIN,
                            os.path.join(HERE, "manifests", "bad.yaml"))
    t.equal(code, 1, "a pod that does not get ready")
    t.has(text, "Pod plain/bad: bad:", "is named")
    t.has(text, "its last words", "with the end of its log")
    t.ok(not mentions(cluster.root), "and nothing is left running")

    owner = subprocess.Popen(["/bin/sleep", "60"])
    code, _ = cluster.local("up", "--plain", "--for", str(owner.pid), PLAIN)
    t.equal(code, 0, "a cluster for another process")
    owner.kill()
    owner.wait()
    t.ok(meshtap.until(lambda: not mentions(cluster.root)),
         "ends with it")


def mentions(root):
    """Processes that have the cluster's directory among their mounts."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/mounts", encoding="utf-8") as stream:
                if root + "/" in stream.read():
                    found.append(pid)
        except OSError:
            continue                      # ended, or a zombie
    return found


with cluster:
    code = meshtap.Tap().run([
        comes_up, containers_are_set_up, services_reach_pods,
        probes_are_played, workloads_change, bad_objects_are_refused,
        everything_ends, a_failure_is_told])
sys.exit(code)
