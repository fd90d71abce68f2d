#!/usr/bin/python3 -B

"""auto/demo --once, with one worker and with two, in its own directory."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "lib"))

import meshtap


def demo(t, workers):
    cluster = meshtap.Cluster()
    done = subprocess.run(
        [os.path.join(meshtap.TREE, "auto", "demo"), "--once", "--workers",
         str(workers)], env=cluster.env, text=True, timeout=140,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    last = done.stdout.splitlines()[-1:]
    passed = re.fullmatch(r"(\d+) passed, 0 failed", "".join(last))
    t.ok(done.returncode == 0 and passed,
         f"auto/demo --once with {workers} nginx workers", done.stdout)
    t.ok(not os.path.exists(cluster.root), "it leaves nothing behind")


def one_worker(t):
    demo(t, 1)


def two_workers(t):
    demo(t, 2)


sys.exit(meshtap.Tap().run([one_worker, two_workers]))
