#!/usr/bin/python3 -B

"""
What a request may cost, in numbers that do not depend on how busy the machine
is: user instructions, system calls and memory, against the file BUDGETS.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import bench_contenders
import bench_measure as measure
import meshtap
from bench_world import Failed, World, namespace

REQUESTS = 50


def budgets():
    found = {}
    with open(os.path.join(HERE, "BUDGETS"), encoding="ascii") as lines:
        for line in lines:
            words = line.partition("#")[0].split()
            if words:
                found[words[0]] = float(words[1])
    return found


class Gates:
    def __init__(self, world, t):
        self.world = world
        self.t = t
        self.budget = budgets()
        self.by_name = {c.name: c for c in bench_contenders.all_contenders()}

    def over_plain(self, what, name, budget, values, digits=0):
        """values: contender -> side -> number; of both sides."""
        for side in measure.SIDES:
            plain, ours = values["plain"][side], values[name][side]
            self.t.ok(round(ours - plain, 1) <= self.budget[budget],
                      f"{what}, {name}, {side}: {ours:,.{digits}f}, plain "
                      f"{plain:,.{digits}f}: {ours - plain:+,.{digits}f}, "
                      f"at most {self.budget[budget]:+,.0f}")

    def instructions(self):
        total = {}
        for name in "plain", "ours-nozone", "ours":
            total[name], cost = measure.instructions(
                self.world, self.by_name[name], REQUESTS)
            self.objects(name, cost)

        self.over_plain("user instructions", "ours-nozone",
                        "instructions_over_plain", total)
        self.over_plain("user instructions", "ours",
                        "instructions_over_plain_zone", total)

    def objects(self, name, cost):
        for side in measure.SIDES:
            of = {}
            for (ob, _), k in cost[side].items():
                of[ob] = of.get(ob, 0) + k
            self.t.note(f"{name}, {side}: " + ", ".join(
                f"{ob} {k:,.0f}" for ob, k in sorted(
                    of.items(), key=lambda x: -x[1]) if k >= 1))

    def syscalls(self):
        total = {}
        for name in "plain", "ours":
            total[name], names = measure.syscalls(
                self.world, self.by_name[name], REQUESTS)
            for side in measure.SIDES:
                self.t.note(f"{name}, {side}: " + ", ".join(
                    f"{call} {k:.2f}" for call, k in sorted(
                        names[side].items(), key=lambda x: -x[1])))

        self.over_plain("system calls", "ours", "syscalls_over_plain",
                        total, 2)

    def memory(self):
        kb = {}
        for name in "plain", "ours":
            found = measure.memory(self.world, self.by_name[name])
            kb[name] = {side: found[side]["pair_kb"]
                        for side in measure.SIDES}
            for side in measure.SIDES:
                self.t.note(f"{name}, {side}: MB by requests in flight: "
                            f"{found[side]['mb']}")

        self.over_plain("KB for one more in flight", "ours",
                        "pair_kb_over_plain", kb, 2)

    def idle(self):
        contender = bench_contenders.Ours("ours-1000", "", zone=True,
                                          endpoints=1000)
        contender.n = len(self.by_name)

        limit = self.budget["idle_mb"]

        with measure.Pair(self.world, contender) as pair:
            for side, child in pair.side.items():
                # what only the start needed is given back a moment later
                meshtap.until(lambda child=child: measure.alone_mb(
                    child.pids()) <= limit)
                mb = measure.alone_mb(child.pids())
                self.t.ok(mb <= limit, f"idle with 1,000 endpoints, {side}: "
                          f"{mb:.2f} MB, at most {limit:.0f}")

            load = pair.load()
            load.do("count", 200)
            load.close()

            for side, child in pair.side.items():
                self.t.note(f"after 200 requests, {side}: "
                            f"{measure.alone_mb(child.pids()):.2f} MB")


def main():
    namespace()
    t = meshtap.Tap()

    with World() as world:
        gates = Gates(world, t)
        for gate in gates.instructions, gates.syscalls, gates.memory, \
                gates.idle:
            try:
                gate()
            except Failed as error:
                t.ok(False, gate.__name__, str(error))

    return t.done()


if __name__ == "__main__":
    sys.exit(main())
