"""
Who talks to whom, from the sidecars' counters: one row for each pair of
workload and service, and one for clients without an identity.
"""

import collections
import sys

from . import metrics

STRANGER = "(no identity)"
PREFIX = "spiffe://cluster.local/"         # left out on the screen

LOCK = "\N{LOCK}" if (sys.stdout.encoding or "").lower().startswith("utf") \
    else "[mtls]"

Row = collections.namedtuple(
    "Row", "source target success rps p50 p95 p99 client server lock")

HEAD = Row("FROM", "TO", "SUCCESS", "RPS", "P50", "P95", "P99",
           "CLIENT IDENTITY", "SERVER IDENTITY", "TLS")


class Edge:
    """The counts of one row."""

    def __init__(self):
        self.success = 0
        self.failure = 0
        self.buckets = collections.Counter()
        self.tls = set()
        self.clients = set()
        self.servers = set()
        self.connections = 0

    def add_http(self, samples, labels):
        """labels: of one request_total series."""
        self.tls.add(labels.get("tls", ""))

        self.success += samples.sum("response_total",
                                    classification="success", **labels)
        self.failure += samples.sum("response_total",
                                    classification="failure", **labels)
        for bucket, value in samples.find("response_latency_ms_bucket",
                                          **labels):
            self.buckets[float(bucket["le"])] += value

    def add_tcp(self, labels, connections):
        self.tls.add(labels.get("tls", ""))
        self.connections += connections

    def lock(self):
        if self.tls == {"true"}:
            return LOCK
        return "open" if "true" not in self.tls else "partly open"


def edges(newest, oldest):
    """(source, target) -> Edge, of what happened between two scrapes."""
    found = collections.defaultdict(Edge)

    for pod, samples in newest.samples.items():
        recent = samples.since(oldest.samples[pod]) \
            if pod in oldest.samples else samples
        _outbound(found, pod, recent, samples)
        _inbound(found, pod, recent)

    _clients(found, newest)
    return {pair: edge for pair, edge in found.items()
            if edge.success + edge.failure + edge.connections > 0}


def _outbound(found, pod, recent, samples):
    http = set()
    source = f"{pod.namespace}/{pod.workload}"

    for labels, count in recent.find("request_total", direction="outbound"):
        if count == 0:
            continue                      # of before the window
        target = target_of(labels)
        http.add(target)
        edge = found[(source, target)]
        edge.add_http(recent, labels)
        if labels.get("server_id"):
            edge.servers.add(labels["server_id"])

    for labels, connections in samples.find("tcp_open_connections",
                                            direction="outbound",
                                            peer="dst"):
        target = target_of(labels)
        if target in http or not labels.get("dst_service"):
            continue
        edge = found[(source, target)]
        edge.add_tcp(labels, connections)
        if labels.get("server_id"):
            edge.servers.add(labels["server_id"])


def _inbound(found, pod, recent):
    for labels, count in recent.find("request_total", direction="inbound",
                                     tls="no_identity"):
        if count == 0:
            continue
        edge = found[(STRANGER, f"{pod.namespace}/{pod.workload}")]
        edge.add_http(recent, labels)


def _clients(found, newest):
    """The identity of a source is what its servers saw of it."""
    seen = collections.defaultdict(set)
    for pod, samples in newest.samples.items():
        for name in ("request_total", "tcp_open_total"):
            for labels, _ in samples.find(name, direction="inbound"):
                if labels.get("client_id"):
                    seen[f"{pod.namespace}/{pod.workload}"].add(
                        labels["client_id"])

    accounts = {f"{pod.namespace}/{pod.workload}":
                f"/ns/{pod.namespace}/sa/{pod.account}"
                for pod in newest.samples}

    for (source, target), edge in found.items():
        if source in accounts:
            edge.clients.update(name for name in seen.get(target, ())
                                if name.endswith(accounts[source]))


def target_of(labels):
    if labels.get("dst_service"):
        return f"{labels.get('dst_namespace', '?')}/{labels['dst_service']}"
    return labels.get("target_addr", "?")


def rows(newest, oldest):
    seconds = max(newest.time - oldest.time, 0.001)
    result = []

    for (source, target), edge in sorted(edges(newest, oldest).items()):
        total = edge.success + edge.failure
        if total:
            figures = [f"{100.0 * edge.success / total:.2f}%",
                       f"{total / seconds:.1f}"]
            figures += [_millis(metrics.quantile(edge.buckets, share))
                        for share in (0.5, 0.95, 0.99)]
        else:
            figures = ["tcp", f"{edge.connections:.0f} open", "-", "-", "-"]
        result.append(Row(source, target, *figures, _names(edge.clients),
                          _names(edge.servers), edge.lock()))
    return result


def _millis(value):
    return "-" if value is None else f"{value:.1f} ms"


def _names(identities):
    short = sorted(name.removeprefix(PREFIX) for name in identities)
    return ", ".join(short) or "-"


def render(table):
    table = [HEAD] + table
    widths = [max(len(row[i]) for row in table) for i in range(len(HEAD))]
    right = {2, 3, 4, 5, 6}
    lines = []

    for row in table:
        cells = [cell.rjust(width) if i in right else cell.ljust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
