#!/usr/bin/python3 -B

"""
kill -9 of each process in turn, under load: only requests in flight on a
killed nginx process may fail.  Then the whole control plane is taken away and
a sidecar starts without it.
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "lib"))

import meshtap
import meshzoo

CONNECTIONS = 8                           # of each load: so many in flight
RACES = 2                                 # a close and a request may cross
SETTLE = 1.5                              # s of load before and after

CONTROL = [("Deployment", "ngx-mesh/mesh-identity"),
           ("Deployment", "ngx-mesh/mesh-watch"),
           ("StatefulSet", "ngx-mesh/mesh-redis")]

SIDECARS = (("zoo/client", "the client's"), ("zoo/echo", "the server's"))

zoo = meshzoo.Zoo()


class Loads:
    """HTTP and TCP from the client, on new connections and on kept ones."""

    def __enter__(self):
        self.loads = {
            "HTTP": zoo.load("zoo/client", "--http", "http://http.zoo/",
                             "--rate", "150", "--fresh", "10",
                             "--connections", str(CONNECTIONS)),
            "new HTTP": zoo.load("zoo/client", "--http", "http://http.zoo/",
                                 "--rate", "50", "--fresh", "1",
                                 "--connections", str(CONNECTIONS)),
            "TCP": zoo.load("zoo/client", "--tcp", "echo.zoo:7000",
                            "--rate", "50", "--fresh", "10",
                            "--connections", str(CONNECTIONS)),
        }
        time.sleep(SETTLE)
        self.results = {}
        return self

    def __exit__(self, *_):
        time.sleep(SETTLE)
        for name, load in self.loads.items():
            self.results[name] = load.stop()

    def failed(self):
        return [f"{name}: {one}" for name, result in self.results.items()
                for one in result["failures"]]

    def told(self, t):
        t.note(", ".join(f"{name} {result['sent']} sent "
                         f"{result['failed']} failed"
                         for name, result in self.results.items()))


def alive(pid):
    return bool(meshzoo.cmdline(pid))


def workers(app):
    return zoo.pids(app, "nginx: worker process")


def master(app):
    found = zoo.pids(app, "nginx: master process")
    return found[0] if found else None


def serves(app):
    """a new connection through this sidecar works"""
    where = "http.zoo:80" if app == "zoo/client" else "echo.zoo:7000"
    kind = "http" if app == "zoo/client" else "echo"
    return zoo.ask("zoo/client", kind, where, "serves")[0]


def kill_worker(t):
    for app, whose in SIDECARS:
        with Loads() as loads:
            old = workers(app)[0]
            os.kill(old, signal.SIGKILL)
            new = meshtap.until(lambda: [pid for pid in workers(app)
                                         if pid != old], 5)

        loads.told(t)
        t.ok(new, f"{whose} worker was replaced")
        failed = loads.failed()
        t.ok(len(failed) <= 3 * CONNECTIONS,
             f"{whose} worker killed: only what was in flight failed",
             "\n".join(failed))
        late = [one for result in loads.results.values()
                for one in result["failures"]]
        if late:
            span = max(at for at, _ in late) - min(at for at, _ in late)
            t.ok(span < 2, "and all of that at once", f"{span:.1f} s")


def kill_master(t):
    for app, whose in SIDECARS:
        with Loads() as loads:
            old = master(app)
            orphans = workers(app)
            os.kill(old, signal.SIGKILL)
            new = meshtap.until(lambda: master(app) not in (None, old)
                                and master(app), 10)
            meshtap.until(lambda: [pid for pid in workers(app)
                                   if pid not in orphans], 5)

        loads.told(t)
        t.ok(new, f"{whose} master was replaced")
        failed = loads.failed()
        refused = [one for one in failed if "Refused" in one]
        t.ok(not refused, f"{whose} master killed: no port was closed",
             "\n".join(refused))
        t.ok(not [one for one in failed if one.startswith("new HTTP")],
             "no request on a new connection failed", "\n".join(failed))
        t.ok(len(failed) <= RACES, "none failed but where the orphan's end "
             "crossed a request on a kept connection", "\n".join(failed))
        t.ok(meshtap.until(lambda: not any(alive(p) for p in orphans), 20),
             "the orphaned workers ended")
        t.ok(serves(app), "and new connections are served")


def kill_one(t, app, what, container, whose):
    with Loads() as loads:
        old = zoo.pids(app, what, container=container)
        os.kill(old[0], signal.SIGKILL)
        new = meshtap.until(lambda: [
            pid for pid in safe_pids(app, what, container)
            if pid not in old], 20)

    loads.told(t)
    t.ok(new, f"{whose} was started again")
    t.ok(not loads.failed(), f"{whose} killed: no request failed",
         "\n".join(loads.failed()[:10]))


def safe_pids(app, what, container):
    try:
        return zoo.pids(app, what, container=container)
    except (IndexError, TypeError):
        return []                         # its container is not there now


def kill_agent(t):
    kill_one(t, "zoo/client", "mesh-agent run", "ngx-mesh",
             "the client's mesh-agent run")
    kill_one(t, "zoo/echo", "mesh-agent run", "ngx-mesh",
             "the server's mesh-agent run")


def kill_control(t):
    kill_one(t, "ngx-mesh/mesh-redis", "redis-server", "redis", "Redis")
    kill_one(t, "ngx-mesh/mesh-watch", "meshd watch", "watch", "meshd watch")
    kill_one(t, "ngx-mesh/mesh-identity", "meshd identity", "identity",
             "meshd identity")

    t.ok(meshtap.until(all_ready, 30), "everybody is ready again")


def all_ready():
    return all(container["ready"] for pod in zoo.status()["pods"]
               for container in pod["containers"])


def without_control(t):
    for kind, name in CONTROL:
        zoo.local("delete", kind, name)
    gone = meshtap.until(lambda: not [
        pod for pod in zoo.status()["pods"]
        if pod["namespace"] == "ngx-mesh"], 30)
    t.ok(gone, "the control plane is gone")

    with Loads() as loads:
        pass
    t.ok(not loads.failed(), "nobody needs it for what is known",
         "\n".join(loads.failed()[:10]))

    old = master("zoo/client")
    zoo.local("restart", "-c", "ngx-mesh", zoo.pod("zoo/client"))
    t.ok(meshtap.until(lambda: master("zoo/client") not in (None, old), 20),
         "the client's sidecar was started again without it")

    served = meshtap.until(lambda: serves("zoo/client"), 20)
    t.ok(served, "and reaches a known service")
    t.ok(zoo.metrics("zoo/client").sum(
        "request_total", direction="outbound", tls="true") >= 1,
         "by mTLS")
    t.ok(zoo.ask("zoo/client", "echo", "echo.zoo:7000", "tcp")[0],
         "by TCP too")

    with Loads() as loads:
        pass
    t.ok(not loads.failed(), "under load too",
         "\n".join(loads.failed()[:10]))


with zoo:
    tap = meshtap.Tap()
    zoo.start(tap)
    tap.note("pods: " + " ".join(sorted(zoo.names)))
    sys.exit(tap.run([kill_worker, kill_master, kill_agent, kill_control,
                      without_control]))
