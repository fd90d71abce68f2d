"""
The measurements.  Each takes sidecars that run, or starts its own; results
are plain numbers by name, and nothing is ever estimated.
"""

import collections
import glob
import json
import os
import re
import signal
import struct
import subprocess
import time

from bench_world import APP_PORT, OUT_UID, Failed, run, spiffe, wait_for

SIDES = ("out", "in")


class Load:
    """t/bench/load.c, for one contender."""

    def __init__(self, world, target, *options, uid=None):
        self.world = world
        self.child = world.spawn("load", [world.program("load"), *options,
                                          target], uid, pipe=True)

    def send(self, *words):
        self.child.popen.stdin.write(" ".join(map(str, words)) + "\n")
        self.child.popen.stdin.flush()

    def answer(self):
        line = self.child.popen.stdout.readline()
        if not line:
            raise Failed(f"load ended: {self.child.said()}")
        result = json.loads(line)
        if result["errors"] or result["requests"] == 0:
            raise Failed(f"{result['errors']} of {result['requests']} "
                         "requests failed")
        return result

    def do(self, *words):
        self.send(*words)
        return self.answer()

    def close(self):
        self.world.stop(self.child)


class Pair:
    """Both sidecars of a contender."""

    def __init__(self, world, contender, wrap=(), http2=False):
        self.world = world
        self.contender = contender
        self.side = {}
        for side in reversed(SIDES):
            child = contender.start(world, side, wrap, http2)
            if child:
                self.side[side] = child

    def __enter__(self):
        return self

    def __exit__(self, *args):
        for child in self.side.values():
            self.world.stop(child)

    def cpu_ns(self):
        return {side: child.cpu_ns() for side, child in self.side.items()}

    def load(self, *options):
        return Load(self.world, self.contender.target(self.world), *options)


def cpu_us(pair, requests, before):
    after = pair.cpu_ns()
    return {side: (after[side] - before[side]) / 1e3 / requests
            for side in after}


# user instructions

def instructions(world, contender, n, warm=200, turns=4):
    """
    User instructions a request, by side, and where they were: the difference
    between N and 2N requests on one kept connection, so that what is not
    done per request cancels out.  Each is the least of several turns: timers
    expire.
    """
    dump = world.path("callgrind")
    os.makedirs(dump, exist_ok=True)
    os.chmod(dump, 0o1777)
    wrap = ("env", f"LD_PRELOAD={world.program('dump.so')}", "valgrind",
            "--tool=callgrind", "--vgdb=no", "--log-file=/dev/null",
            f"--callgrind-out-file={dump}/%p")
    result = {}

    with Pair(world, contender, wrap) as pair:
        load = pair.load()
        load.do("count", warm)
        callgrind_all(pair, dump)
        least = {}

        for requests in (n, 2 * n) * turns:
            load.do("count", requests)

            for side, cost in callgrind_all(pair, dump).items():
                where = (side, requests)
                if where not in least \
                        or cost.total() < least[where].total():
                    least[where] = cost

        load.close()

        for side in SIDES:
            cost = collections.Counter(least[side, 2 * n])
            cost.subtract(least[side, n])
            result[side] = {where: k / n for where, k in cost.items() if k}

    return {side: sum(cost.values()) for side, cost in result.items()}, result


def callgrind_all(pair, directory):
    return {side: callgrind(directory, child.pids())
            for side, child in pair.side.items()}


def callgrind(directory, pids):
    """Costs since the last call, by (object, function), of all processes."""
    cost = collections.Counter()

    for pid in pids:
        path = f"{directory}/{pid}.{len(glob.glob(f'{directory}/{pid}.*')) + 1}"
        os.kill(pid, signal.SIGRTMIN)
        wait_for(f"callgrind's {path}", lambda path=path: finished(path), 60)
        cost.update(callgrind_costs(path))

    return cost


def finished(path):
    try:
        with open(path, "rb") as text:
            text.seek(-min(200, os.path.getsize(path)), os.SEEK_END)
            return b"\ntotals: " in text.read()
    except OSError:
        return False


def callgrind_costs(path):
    """Self cost by (object, function) of one dump."""
    cost = collections.Counter()
    names = {"ob": {}, "fn": {}}
    now = {"ob": "", "fn": ""}
    skip = False

    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line[0] in "+-*0123456789":
                if not skip:
                    cost[now["ob"], now["fn"]] += int(line.split()[-1])
                skip = False
                continue

            m = re.match(r"(c?)(ob|fn)=(\(\d+\))(?: (.*))?$", line)

            if m:
                called, kind, number, name = m.groups()
                if name:
                    names[kind][number] = os.path.basename(name)
                if not called:
                    now[kind] = names[kind][number]

            elif line.startswith("calls="):
                skip = True               # the next line is the callee's

    return cost


# system calls

def syscalls(world, contender, n, connections=1):
    """System calls a request, by side: totals, and each by name."""
    result = {}

    with Pair(world, contender) as pair:
        load = pair.load("--connections", str(connections))
        load.do("count", 100 * connections)

        for side, child in pair.side.items():
            few = strace(world, load, child.pids(), n)
            many = strace(world, load, child.pids(), 2 * n)
            many.subtract(few)
            result[side] = {name: k / n for name, k in many.items() if k}

        load.close()

    return {side: sum(calls.values()) for side, calls in result.items()}, \
        result


def strace(world, load, pids, requests, turns=3):
    """The median of several turns: timers expire, two events come at once."""
    counts = [strace_once(world, load, pids, requests) for _ in range(turns)]

    return sorted(counts, key=lambda calls: calls.total())[turns // 2]


def strace_once(world, load, pids, requests):
    out = world.path("strace")
    argv = ["strace", "-c", "-f", "-U", "name,calls", "-o", out]

    for pid in pids:
        argv += ["-p", str(pid)]

    tracer = subprocess.Popen(argv, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)

    for _ in pids:
        line = tracer.stderr.readline()
        if "attached" not in line:
            tracer.wait()
            raise Failed(f"strace: {line.strip()}")

    # a call under way when it attaches is restarted: let that happen first

    load.do("count", 1)
    load.do("count", requests)

    tracer.send_signal(signal.SIGINT)
    tracer.communicate()

    calls = collections.Counter()

    with open(out, encoding="ascii", errors="replace") as text:
        for line in text:
            m = re.match(r"(\w+) +(\d+)$", line.strip())
            if m and m[1] != "total":
                calls[m[1]] += int(m[2])

    return calls


# memory

def memory(world, contender, counts=(100, 1000), step=50):
    """
    MB of both sidecars in fresh processes, idle and with requests in flight,
    and KB that one more request in flight takes of memory that is their own.
    Requests come by and by: a thousand handshakes at once would meet the
    sidecars' timeouts.
    """
    with Pair(world, contender) as pair:
        load = pair.load()
        load.do("count", 10)              # by then all processes stand
        load.close()

        kb = {0: {side: child.memory() for side, child in pair.side.items()}}
        loads = []

        for n in range(step, counts[-1] + 1, step):
            loads.append(pair.load("--connections", str(step), "--path",
                                   "/hold"))
            loads[-1].send("count", step)
            wait_for(f"{n} requests in flight",
                     lambda n=n: world.held() == n, 30)
            if n in counts:
                kb[n] = {side: child.memory()
                         for side, child in pair.side.items()}

        world.release()

        for load in loads:
            load.answer()
            load.close()

    few, many = counts[0], counts[-1]

    return {side: {
        "mb": {str(n): kb[n][side][0] / 1e3 for n in kb},
        "pair_kb": (kb[many][side][1] - kb[few][side][1]) / (many - few),
    } for side in SIDES}


PAGE = os.sysconf("SC_PAGE_SIZE")
PRESENT = 1 << 63
FRAME = (1 << 55) - 1


def alone_mb(pids):
    """MB that processes have in memory, each page counted once, as if they
    were alone on the machine."""
    frames = set()

    for pid in pids:
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, \
                open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
            for line in maps:
                if re.search(r"\[(?:vsyscall|vvar|vdso)", line):
                    continue              # the kernel's own
                start, end = (int(word, 16)
                              for word in line.split()[0].split("-"))
                pagemap.seek(start // PAGE * 8)
                data = pagemap.read((end - start) // PAGE * 8)
                frames.update(entry & FRAME for (entry,)
                              in struct.iter_unpack("<Q", data)
                              if entry & PRESENT)

    if not frames or 0 in frames:
        raise Failed("page frames cannot be read")

    return len(frames) * PAGE / 1e6


# time

def throughput(pair, load, ms):
    """One round: requests a second, CPU a request."""
    before = pair.cpu_ns()
    result = load.do("time", ms)

    return {"rps": result["requests"] / result["seconds"],
            "cpu_us": cpu_us(pair, result["requests"], before)}


def latency(load, rate, ms):
    return load.do("rate", rate, ms)


def handshakes(world, contender, n):
    """
    CPU us of one new mTLS connection with one request on it, by side: the
    other side of each is played by our own programs.
    """
    tls = ["--tls", world.path("{}.pem"), world.path("{}.key"),
           world.path("root.crt")]
    result = {}

    with Pair(world, contender) as pair:
        load = Load(world, f"{world.pod(contender.n)}:{APP_PORT}",
                    "--new", "--connections", "4",
                    *[word.format("web") for word in tls], spiffe("cart"),
                    uid=OUT_UID)
        load.do("count", 20)
        before = pair.cpu_ns()
        load.do("count", n)
        result["in"] = cpu_us(pair, n, before)["in"]
        load.close()

        world.stop(pair.side.pop("in"))

        _, port = world.ports(contender.n, "in")
        peer = world.spawn("peer", [world.program("app"), "--close",
                                    *[word.format("cart") for word in tls],
                                    f"127.0.0.1:{port}"])
        world.wait_port("127.0.0.1", port, peer)

        load = pair.load("--new", "--connections", "4")
        load.do("count", 20)
        before = pair.cpu_ns()
        load.do("count", n)
        result["out"] = cpu_us(pair, n, before)["out"]
        load.close()
        world.stop(peer)

    return result


# gRPC, by h2load: 100 bytes there, 1 KB and trailers back

SHAPES = {"1x1": (1, 1), "16x1": (16, 1), "4x16": (4, 16)}


def grpc(world, pair, shape, n):
    connections, streams = SHAPES[shape]
    before = pair.cpu_ns()
    said = subprocess.run(
        ["h2load", "-t", "1", "-n", str(n), "-c", str(connections), "-m",
         str(streams), "-d", world.path("body"), "-H",
         "content-type: application/grpc", "-H", "te: trailers",
         f"http://{pair.contender.target(world, True)}/call"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=120).stdout

    rate = re.search(r"finished in .*?, ([\d.]+) req/s", said)
    done = re.search(r"^status codes: (\d+) 2xx", said, re.M)

    if not rate or not done:
        raise Failed(f"h2load: {said[-300:].strip()}")

    return {"cpu_us": cpu_us(pair, n, before), "rps": float(rate[1]),
            "errors": n - int(done[1])}


def machine():
    """What the figures were taken on."""
    with open("/proc/cpuinfo", encoding="utf-8") as text:
        model = re.search(r"^model name\s*: (.*)$", text.read(), re.M)

    version = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE,
                             text=True, check=False).stderr.strip()

    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=os.path.dirname(os.path.abspath(__file__)), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        check=False).stdout.strip()

    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit or "unknown",
        "cpu": model[1] if model else "unknown",
        "cpus": os.cpu_count(),
        "kernel": os.uname().release,
        "nginx": version.partition(": ")[2],
        "openssl": run("openssl", "version").split(" (")[0].strip(),
        "load_average": " ".join(f"{x:.2f}" for x in os.getloadavg()),
    }
