#!/usr/bin/python3 -B

"""
auto/bench [--quick] [--rounds N] [--cpu N] [--json FILE] [--profile NAME]
           [NAME ...]

What one request costs in two sidecars, against other proxies and against
none.  All contenders, or the named ones, take turns on one core.

--quick         everything in some 3 minutes: good to see that it works
--rounds N      turns that each contender has (20)
--cpu N         the core that everything runs on (the last one)
--json FILE     the results (build/bench/results.json)
--profile NAME  only tells where a contender's user instructions are
"""

import argparse
import os
import shutil
import sys

import bench_contenders
import bench_measure as measure
import bench_proof
import bench_table
from bench_world import BUILD, Failed, World, namespace

WHOLE = {"rounds": 20, "turn_ms": 1500, "rate": 500, "rate_ms": 2000,
         "handshakes": 1000, "calls": 300, "instructions": 50,
         "grpc_rounds": 10, "grpc": 3000}
QUICK = {"rounds": 3, "turn_ms": 400, "rate": 500, "rate_ms": 500,
         "handshakes": 100, "calls": 50, "instructions": 50,
         "grpc_rounds": 2, "grpc": 300}

CONNECTIONS = 16


def options():
    names = [c.name for c in bench_contenders.all_contenders()]
    parser = argparse.ArgumentParser(
        prog="auto/bench", usage=__doc__.strip())
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--cpu", type=int, default=max(
        os.sched_getaffinity(0)))
    parser.add_argument("--json",
                        default=os.path.join(BUILD, "bench", "results.json"))
    parser.add_argument("--profile", choices=names)
    parser.add_argument("names", nargs="*", metavar="NAME")
    chosen = parser.parse_args()

    for name in chosen.names:
        if name not in names:
            parser.error(f"no contender \"{name}\"; there are: "
                         + ", ".join(names))
    return chosen


class Bench:
    """What is measured, what was found, and what could not be."""

    def __init__(self, world, names, sizes):
        self.world = world
        self.sizes = sizes
        self.notes = []
        self.failed = False
        self.results = {}
        self.contenders = []

        for contender in bench_contenders.all_contenders():
            if not names or contender.name in names \
                    or contender.name == "direct":
                self.results[contender.name] = {"what": contender.what}
                self.admit(contender)

    def admit(self, contender):
        """Only who is there, and proves its TLS, takes part."""
        why = contender.missing()

        if why is None and contender.name != "direct":
            try:
                proof = bench_proof.prove(self.world, contender)
                self.results[contender.name]["proof"] = proof
            except Failed as error:
                why = f"TLS is not proven: {error}"
                self.failed = True

        if why:
            self.note(f"{contender.name}: {why}")
            return

        self.contenders.append(contender)

    def note(self, text):
        self.notes.append(f"NOT MEASURED: {text}")

    def progress(self, text):
        print(f"# {text}", file=sys.stderr, flush=True)

    def each(self, key, function):
        """One measure of each contender's sidecars."""
        for contender in self.contenders:
            if contender.name == "direct":
                continue
            self.progress(f"{key}: {contender.name}")
            try:
                self.results[contender.name][key] = function(contender)
            except Failed as error:
                self.failed = True
                self.note(f"{contender.name}, {key}: {error}")

    def run(self):
        size = self.sizes

        self.each("memory", lambda c: measure.memory(self.world, c))
        self.rounds()
        self.grpc_rounds()
        self.each("handshakes", lambda c: measure.handshakes(
            self.world, c, size["handshakes"]))
        self.each("syscalls", self.syscalls)
        self.each("instructions", self.instructions)

    def syscalls(self, contender):
        total, names = measure.syscalls(self.world, contender,
                                        self.sizes["calls"])
        self.results[contender.name]["syscall_names"] = names
        return total

    def instructions(self, contender):
        if not contender.valgrind:
            self.note(f"{contender.name}, instructions: it does not run "
                      "under valgrind")
            return None
        total, _ = measure.instructions(self.world, contender,
                                        self.sizes["instructions"])
        return total

    def rounds(self):
        """
        Turns of all contenders; each second round goes backwards, so that a
        neighbour's load does not meet the same ones.
        """
        size = self.sizes
        pairs = {}
        try:
            for contender in self.contenders:
                pair = measure.Pair(self.world, contender)
                many = pair.load("--connections", str(CONNECTIONS))
                one = pair.load()
                pairs[contender.name] = (pair, many, one)
                many.do("count", 50 * CONNECTIONS)
                one.do("count", 50)

            for number in range(size["rounds"]):
                self.progress(f"round {number + 1} of {size['rounds']}")
                self.one_round(pairs, backwards=number % 2)
        finally:
            for pair, many, one in pairs.values():
                many.close()
                one.close()
                pair.__exit__()

    def grpc_rounds(self):
        """Turns again, of each shape; new processes that speak HTTP/2."""
        if not shutil.which("h2load") or not shutil.which("nghttpd"):
            self.note("gRPC: nghttp2's h2load and nghttpd are not installed")
            return

        pairs = {}
        try:
            for contender in self.contenders:
                pairs[contender.name] = measure.Pair(self.world, contender,
                                                     http2=True)
            for number in range(self.sizes["grpc_rounds"] + 1):
                self.progress(f"gRPC, round {number} of "
                              f"{self.sizes['grpc_rounds']}")
                for shape in measure.SHAPES:
                    order = list(pairs.items())
                    for name, pair in order[::-1 if number % 2 else 1]:
                        self.grpc_turn(name, pair, shape, number > 0)
        finally:
            for pair in pairs.values():
                pair.__exit__()

    def grpc_turn(self, name, pair, shape, counts):
        """The first one fills the pools and does not count."""
        turn = measure.grpc(self.world, pair, shape, self.sizes["grpc"])
        if counts:
            self.results[name].setdefault("grpc", {}).setdefault(
                shape, []).append(turn)

    def one_round(self, pairs, backwards):
        size = self.sizes
        turns = {}
        order = list(pairs.items())

        for name, (pair, many, one) in order[::-1 if backwards else 1]:
            turn = measure.throughput(pair, many, size["turn_ms"])
            turn["p50_us"] = measure.latency(one, size["rate"],
                                             size["rate_ms"])["p50_us"]
            turns[name] = turn

        direct = turns["direct"]

        for name, turn in turns.items():
            turn["over_direct"] = turn["rps"] / direct["rps"]
            turn["added_p50_us"] = turn["p50_us"] - direct["p50_us"]
            self.results[name].setdefault("rounds", []).append(turn)


def profile(world, name, requests):
    """Functions by self cost."""
    contender = next(c for c in bench_contenders.all_contenders()
                     if c.name == name)
    total, cost = measure.instructions(world, contender, requests)

    for side in measure.SIDES:
        print(f"{name}, {side}: {total[side]:,.1f} a request")
        for (ob, fn), k in sorted(cost[side].items(), key=lambda x: -x[1]):
            if k >= 1:
                print(f"{k:10.1f}  {ob:24}{fn}")


def show(bench, document):
    print()
    print(bench_table.text(bench.results))
    print()
    for name, result in bench.results.items():
        print(f"{name}: {result['what']}"
              + (f"; {result['proof']}" if "proof" in result else ""))
    print()
    for note in bench.notes:
        print(note)
    print(", ".join(f"{k} {v}" for k, v in document["machine"].items()))


def main():
    chosen = options()
    namespace()

    sizes = dict(QUICK if chosen.quick else WHOLE)
    sizes["rounds"] = chosen.rounds or sizes["rounds"]

    with World(chosen.cpu) as world:
        if chosen.profile:
            profile(world, chosen.profile, sizes["instructions"])
            return 0

        before = measure.machine()
        bench = Bench(world, chosen.names, sizes)
        bench.run()

    document = {
        "machine": {**before, "load_average_after":
                    measure.machine()["load_average"]},
        "sizes": sizes, "connections": CONNECTIONS,
        "notes": bench.notes, "results": bench.results,
    }

    bench_table.write_json(chosen.json, document)
    show(bench, document)

    return 1 if bench.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"auto/bench: {failure}", file=sys.stderr)
        sys.exit(1)
