"""
auto/demo: starts the shop, shows it until Ctrl-C; with --once watches it for
some seconds, checks every number, and ends.
"""

import argparse
import collections
import os
import signal
import subprocess
import sys
import time

from mesh_local import client

from . import checks
from . import shop as shops
from . import table

WINDOW = 10                # s that a row looks back
STILL_TRIES = 50
PAUSE_TIMEOUT = 15.0

TREE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.dirname(os.path.abspath(__file__)))))
LOCAL = os.path.join(TREE, "auto", "local")
DEMO = os.path.join(TREE, "conf", "demo")
LOAD = "50-load.yaml"


def up(workers):
    """The shop first, then its customers: no request meets a closed door."""
    shop = sorted(os.path.join(DEMO, name) for name in os.listdir(DEMO)
                  if name.endswith(".yaml") and name != LOAD)
    try:
        run("up", "--for", str(os.getpid()), "--workers", str(workers), *shop)
        run("apply", "--wait", os.path.join(DEMO, LOAD))
    except BaseException:                 # a signal: up did not end itself
        down()
        raise


def run(*argv):
    if subprocess.run([LOCAL, *argv], check=False).returncode != 0:
        raise client.Failed("the shop did not start")


def down():
    subprocess.run([LOCAL, "down", "--now"], check=False)


def watch(shop):
    """The screen, once a second."""
    history = collections.deque(maxlen=WINDOW)

    while True:
        shop.look()
        history.append(shop.scrape())
        text = table.render(table.rows(history[-1], history[0]))
        meshed = sum(pod.meshed for pod in shop.pods)
        sys.stdout.write(
            "\x1b[H\x1b[J"
            f"ngx-mesh: the shop, {len(shop.pods)} pods, {meshed} of them "
            f"with a sidecar; the last {WINDOW} s by their /metrics\n\n"
            f"{text}\n\n"
            f"{table.LOCK} mutual TLS, both identities verified; \"open\": "
            "plaintext: kubelet's probes and clients without a sidecar\n"
            f"identities are below {table.PREFIX}\n"
            "Ctrl-C ends it; auto/local status, exec, logs work meanwhile\n")
        sys.stdout.flush()
        time.sleep(1)


def once(shop, seconds):
    shop.look()
    wait_for_traffic(shop)

    first = shop.scrape()
    time.sleep(seconds)
    last = shop.scrape()
    rows = table.rows(last, first)
    print("\n" + table.render(rows) + "\n", flush=True)

    pause(shop)
    truth = still(shop)
    report = checks.run(truth, rows)
    print(f"{report.passed} passed, {report.failed} failed")
    return 0 if report.failed == 0 else 1


def loads(shop):
    return [pod for pod in shop.pods
            if pod.workload in ("load", "load6", "kiosk")]


def wait_for_traffic(shop):
    """Until each load generator has been answered with 200."""
    end = time.monotonic() + PAUSE_TIMEOUT
    while time.monotonic() < end:
        logs = shops.read_logs(loads(shop))
        if all(log.sent[("web", "200")] for log in logs.values()):
            return
        time.sleep(0.1)
    raise client.Failed("a load generator got no answer from the shop")


def pause(shop):
    for pod in loads(shop):
        shop.signal(pod, signal.SIGUSR1)

    end = time.monotonic() + PAUSE_TIMEOUT
    while time.monotonic() < end:
        logs = shops.read_logs(loads(shop))
        if all(log.last == "paused" for log in logs.values()):
            return
        time.sleep(0.05)
    raise client.Failed("a load generator did not pause")


def still(shop):
    """
    Counters and logs of one moment: kubelet's probes go on, so read logs
    before and after the counters until nothing was logged between, and the
    counters stood still too.
    """
    for _ in range(STILL_TRIES):
        before = shops.read_logs(shop.pods)
        probes = shop.probe_answers()
        first = shop.scrape()
        scrape = shop.scrape()
        after = shops.read_logs(shop.pods)
        if same(before, after) and requests(first) == requests(scrape) \
                and probes == shop.probe_answers():
            return checks.Truth(shop.pods, scrape, after, probes)
        time.sleep(0.05)
    raise client.Failed("the shop does not come to rest")


def same(before, after):
    return all(before[pod].served == after[pod].served
               and before[pod].sent == after[pod].sent for pod in after)


def requests(scrape):
    return [samples.sum("response_total")
            for samples in scrape.samples.values()]


def main():
    parser = argparse.ArgumentParser(prog="auto/demo", description=__doc__)
    parser.add_argument("--once", action="store_true",
                        help="a few seconds, checks, exit 0 or 1")
    parser.add_argument("--seconds", type=float, default=6.0,
                        help="of traffic in the table of --once")
    parser.add_argument("--workers", type=int, default=1,
                        help="nginx workers of each sidecar")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))

    started = False
    try:
        up(args.workers)
        started = True
        shop = shops.Shop()
        shop.enter()
        if args.once:
            return once(shop, args.seconds)
        return watch(shop)
    except (client.Failed, OSError, ValueError) as error:
        print(f"auto/demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 0
    finally:
        if started:
            down()


sys.exit(main())
