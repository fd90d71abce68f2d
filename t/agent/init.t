#!/usr/bin/python3

# mesh-agent init with a real nginx: sockets outlive every process, each
# child is started again alone, orphans end, a stop ends all.

import os
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import sidecar

sidecar.isolate()

from meshpki import Authority, text_of
from meshtap import Tap, until
from sidecar import Sidecar, children, get, state, title

ROOT = Authority.root()
TRUST = text_of(ROOT.cert)


def started(**more):
    s = Sidecar(**more)
    s.pair(ROOT.issuer(), TRUST)
    s.give("trust.pem", TRUST)
    s.start()
    if not s.serves():
        raise RuntimeError(s.log())
    return s


def starts(t):
    with started() as s:
        t.ok(s.agent() and s.master(), "init has two children")
        for host, port in (("127.0.0.1", 4140), ("::1", 4140),
                           ("127.0.0.1", 4143), ("::1", 4143),
                           ("127.0.0.1", 4191), ("::1", 4191)):
            t.equal(get(port, host=host)[0], 200, f"{host} {port} answers")

        with socket.socket(socket.AF_UNIX) as u:
            u.connect(os.path.join(s.run, "redis.sock"))
            u.sendall(b"GET / HTTP/1.0\r\n\r\n")
            t.has(u.recv(4096).decode(), "200", "redis.sock answers")

        t.equal(s.stop(), 0, "SIGTERM: exit code 0")
        t.has(s.log(), "all ended", "all ended")


def master_is_killed(t):
    with started() as s:
        master, worker = s.master(), s.workers()[0]

        # a connection that the old worker accepted stays with it

        old = socket.create_connection(("127.0.0.1", 4143))
        old.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        t.has(old.recv(4096).decode(), str(worker), "the worker answers")

        os.kill(master, signal.SIGKILL)

        until(lambda: s.master() not in (0, master))
        t.ok(s.master() != master, "a new master")

        t.ok(until(lambda: get(4143)[1].isdigit()
                   and int(get(4143)[1]) != worker), "a new worker answers")
        t.ok(until(lambda: not s.orphans()), "the orphan ends")
        t.ok(os.path.exists(os.path.join(s.run, "redis.sock")),
             "redis.sock keeps its name")
        t.has(s.log(), "orphaned ones are told to quit: 1", "it was told to")
        old.close()
        t.equal(s.stop(), 0, "and all ends")


def nobody_is_refused(t):
    """Connections go on through three deaths of the master."""
    with started() as s:
        failures, answers, stop = [], [0], threading.Event()

        def load():
            while not stop.is_set():
                code, body = get(4143)
                if code == 200:
                    answers[0] += 1
                else:
                    failures.append(body)

        thread = threading.Thread(target=load)
        thread.start()

        for _ in range(3):
            master = s.master()
            os.kill(master, signal.SIGKILL)
            until(lambda: s.master() not in (0, master))
            until(lambda: s.workers() and not s.orphans())

        stop.set()
        thread.join()
        t.equal(failures, [], f"of {answers[0]} requests none failed")
        t.ok(answers[0] > 20, "there were some")


def waits_in_the_backlog(t):
    """Master and worker are dead: the connection is made and answered."""
    with started() as s:
        master, worker = s.master(), s.workers()[0]
        os.kill(s.init(), signal.SIGSTOP)
        os.kill(master, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        until(lambda: state(worker) in ("", "Z"))

        c = socket.create_connection(("127.0.0.1", 4143))
        c.sendall(b"GET / HTTP/1.0\r\n\r\n")
        c.settimeout(10)
        os.kill(s.init(), signal.SIGCONT)

        t.has(c.recv(4096).decode(), "200 OK", "answered after the restart")
        t.ok(until(lambda: s.workers()), "by a new worker")
        t.ok(not [pid for pid in children(s.init()) if state(pid) == "Z"],
             "no zombies")


def worker_is_killed(t):
    with started() as s:
        worker = s.workers()[0]
        os.kill(worker, signal.SIGKILL)
        t.ok(until(lambda: s.workers() and s.workers()[0] != worker),
             "nginx starts another worker")
        t.equal(get(4143)[0], 200, "which answers")


def agent_is_killed(t):
    with started() as s:
        agent, master, worker = s.agent(), s.master(), s.workers()
        conf = os.stat(os.path.join(s.run, "nginx.conf"))
        os.kill(agent, signal.SIGKILL)
        t.ok(until(lambda: s.agent() not in (0, agent)), "a new agent")
        t.ok(until(lambda: s.ask()[0]), "it answers")
        t.equal((s.master(), s.workers()), (master, worker),
                "nginx was neither started nor reloaded")
        t.equal(os.stat(os.path.join(s.run, "nginx.conf")).st_ino,
                conf.st_ino, "nginx.conf was not written")

        # a second death soon after waits for a while

        agent = s.agent()
        os.kill(agent, signal.SIGKILL)
        t.ok(s.logged("is started again in 100 ms"), "back-off begins")
        t.ok(until(lambda: s.agent() not in (0, agent)), "and is over")
        t.equal(s.stop(), 0, "and all ends")


def stops_without_the_agent(t):
    with started() as s:
        os.kill(s.agent(), signal.SIGSTOP)
        agent = s.agent()
        s.process.terminate()
        until(lambda: "stopping" in s.log())
        os.kill(agent, signal.SIGKILL)
        t.equal(s.stop(), 0, "init ends nginx itself")


def drains(t):
    s = Sidecar("--drain=2")
    s.pair(ROOT.issuer(), TRUST)
    s.give("trust.pem", TRUST)
    with s:
        s.start()
        t.ok(s.serves(), "serves")
        start = time.monotonic()
        s.process.terminate()
        time.sleep(1)                     # half of the time that is tested
        t.equal(get(4143)[0], 200, "still serves after half of --drain")
        t.equal(s.process.wait(20), 0, "exit code 0")
        t.ok(1.9 <= time.monotonic() - start < 8, "after --drain",
             time.monotonic() - start)


def finishes_requests(t):
    """A request in flight is answered after QUIT."""
    with started() as s:
        c = socket.create_connection(("127.0.0.1", 4143))
        c.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConn")
        c.settimeout(10)
        s.process.terminate()
        t.ok(s.logged("signal 3 to nginx"), "nginx gets QUIT")
        time.sleep(0.3)
        c.sendall(b"ection: close\r\n\r\n")
        t.has(c.recv(4096).decode(), "200 OK", "the request is answered")
        t.equal(s.process.wait(20), 0, "then all ends")


def refuses_usage(t):
    import subprocess
    s = Sidecar()
    with s:
        done = subprocess.run([s.program, "init", "--pod=x"],
                              stderr=subprocess.PIPE, check=False)
        t.equal(done.returncode, 2, "exit code 2")
        t.has(done.stderr.decode(), "--", "names the option")
        done = subprocess.run([s.program, "run", "--namespace=a", "--pod=x",
                               "--identity=a:1", "--trust=/x", "--token=/x",
                               "--redis=10.0.0.1:1"],
                              stderr=subprocess.PIPE, check=False)
        t.equal(done.returncode, 2, "run is not for people")
        t.has(done.stderr.decode(), "mesh-agent init", "and says so")


sys.exit(Tap().run([starts, master_is_killed, nobody_is_refused,
                    waits_in_the_backlog, worker_is_killed, agent_is_killed,
                    stops_without_the_agent, drains, finishes_requests,
                    refuses_usage]))
