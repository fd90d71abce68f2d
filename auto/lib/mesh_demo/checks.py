"""
The demo's numbers against the truth: what the sidecars counted must equal
what the apps logged, to the request.
"""

import collections

from . import table

PROBE = "kube-probe/1.29"
DOMAIN = "cluster.local"


class Report:
    """Prints each verdict, counts them."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def equal(self, what, counted, logged):
        if counted == logged and logged is not None:
            self.passed += 1
            print(f"ok      {what}: {_show(counted)}")
        else:
            self.failed += 1
            print(f"FAILED  {what}: counted {_show(counted)}, "
                  f"expected {_show(logged)}")

    def true(self, what, value):
        if value:
            self.passed += 1
            print(f"ok      {what}")
        else:
            self.failed += 1
            print(f"FAILED  {what}")


def _show(value):
    if isinstance(value, dict):
        return " ".join(f"{key}={number:g}"
                        for key, number in sorted(value.items())) or "none"
    if isinstance(value, set):
        return " ".join(sorted(value)) or "none"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


class Truth:
    """One still picture of counters and logs, summed by workload."""

    def __init__(self, pods, scrape, logs, probes):
        self.pods = pods
        self.scrape = scrape
        self.logs = logs
        self.probes = probes
        self.workloads = {}
        for pod in pods:
            self.workloads.setdefault(
                f"{pod.namespace}/{pod.workload}", []).append(pod)

    def counted(self, workload, name, by=None, **labels):
        """A sum over the workload's pods; by: a label to split it by."""
        sums = collections.Counter()
        for pod in self.workloads[workload]:
            if pod not in self.scrape.samples:
                continue
            for have, value in self.scrape.samples[pod].find(name, **labels):
                sums[have.get(by, "") if by else ""] += value

        if by is None:
            return sum(sums.values())
        return {key: value for key, value in sums.items() if value}

    def sent(self, workload, service):
        """status -> requests that its apps sent to a service."""
        sums = collections.Counter()
        for pod in self.workloads[workload]:
            for (to, status), count in self.logs[pod].sent.items():
                if to == service:
                    sums[status] += count
        return dict(sums)

    def served(self, workload, agent=None):
        sums = collections.Counter()
        for pod in self.workloads[workload]:
            for (status, who), count in self.logs[pod].served.items():
                if agent is None or who == agent:
                    sums[status] += count
        return dict(sums)

    def refused(self, workload, service):
        """Requests that the mesh answered instead of the service."""
        return sum(self.logs[pod].refused[service]
                   for pod in self.workloads[workload])

    def probed(self, workload):
        """status -> answers that kubelet's probes got."""
        sums = collections.Counter()
        for pod in self.workloads[workload]:
            sums.update(self.probes[(pod.namespace, pod.name)])
        return dict(sums)

    def opened(self, workload, service):
        return sum(self.logs[pod].opened[service]
                   for pod in self.workloads[workload])

    def calls(self):
        """(workload, service) of every call by HTTP from a meshed pod."""
        return sorted({(workload, to)
                       for workload, pods in self.workloads.items()
                       for pod in pods if pod.meshed
                       for (to, _) in self.logs[pod].sent})


def run(truth, window_rows):
    report = Report()

    for workload, pods in sorted(truth.workloads.items()):
        wanted = not workload.startswith("street/")
        report.true(f"{workload} is {'' if wanted else 'not '}meshed",
                    all(pod.meshed == wanted for pod in pods))

    for workload, service in truth.calls():
        _check_client(report, truth, workload, service)

    for workload in sorted(truth.workloads):
        if truth.served(workload):
            _check_server(report, truth, workload)

    _check_store(report, truth)
    _check_stranger(report, truth)
    _check_rows(report, window_rows)
    return report


def _check_client(report, truth, workload, service):
    logged = truth.sent(workload, service)
    labels = {"direction": "outbound", "dst_service": service}

    report.equal(f"{workload} -> {service}: responses by status",
                 truth.counted(workload, "response_total", "status_code",
                               **labels), logged)
    report.equal(f"{workload} -> {service}: requests over mutual TLS",
                 truth.counted(workload, "request_total", tls="true",
                               **labels),
                 sum(logged.values()) - truth.refused(workload, service))
    report.equal(f"{workload} -> {service}: requests in all",
                 truth.counted(workload, "request_total", **labels),
                 sum(logged.values()))
    report.equal(f"{workload} -> {service}: latencies",
                 truth.counted(workload, "response_latency_ms_count",
                               **labels), sum(logged.values()))
    report.equal(f"{workload} -> {service}: failures",
                 truth.counted(workload, "response_total",
                               classification="failure", **labels),
                 sum(count for status, count in logged.items()
                     if status[0] == "5"))

    account = truth.workloads["shop/" + service][0].account
    report.equal(f"{workload} -> {service}: identity of the server",
                 set(truth.counted(workload, "request_total", "server_id",
                                   tls="true", **labels)),
                 {f"spiffe://{DOMAIN}/ns/shop/sa/{account}"})


def _check_server(report, truth, workload):
    # what kubelet got before the app listened, no app has logged

    expected = collections.Counter(truth.served(workload))
    expected.update(truth.probed(workload))
    expected.subtract(truth.served(workload, PROBE))

    report.equal(f"{workload}: responses by status",
                 truth.counted(workload, "response_total", "status_code",
                               direction="inbound"),
                 {status: n for status, n in expected.items() if n})

    service = workload.partition("/")[2]
    logged = {}
    for client, to in truth.calls():
        if to == service:
            account = truth.workloads[client][0].account
            name = f"spiffe://{DOMAIN}/ns/shop/sa/{account}"
            logged[name] = logged.get(name, 0) \
                + sum(truth.sent(client, service).values()) \
                - truth.refused(client, service)

    report.equal(f"{workload}: requests by identity of the client",
                 truth.counted(workload, "request_total", "client_id",
                               direction="inbound", tls="true"), logged)


def _check_store(report, truth):
    opened = truth.opened("shop/cart", "store")
    report.true("the cart has opened connections to the store", opened > 0)
    report.equal("shop/cart -> store: connections over mutual TLS",
                 truth.counted("shop/cart", "tcp_open_total", tls="true",
                               direction="outbound", peer="dst",
                               dst_service="store"), opened)
    report.equal("shop/store: connections by identity of the client",
                 truth.counted("shop/store", "tcp_open_total", "client_id",
                               direction="inbound", peer="src", tls="true"),
                 {f"spiffe://{DOMAIN}/ns/shop/sa/cart": opened})


def _check_stranger(report, truth):
    sent = sum(truth.sent("street/kiosk", "web").values())
    probes = sum(truth.probed("shop/web").values())

    report.true("the kiosk has sent requests", sent > 0)
    report.equal("shop/web: requests in plaintext, the kiosk's and kubelet's",
                 truth.counted("shop/web", "request_total",
                               direction="inbound", tls="no_identity"),
                 sent + probes)


def _check_rows(report, window_rows):
    strangers = [row for row in window_rows
                 if row.source == table.STRANGER and row.target == "shop/web"]
    report.true("the table shows the kiosk's traffic as open",
                strangers and strangers[0].lock == "open")

    meshed = [row for row in window_rows if row.source != table.STRANGER]
    report.true(f"the table shows all {len(meshed)} others locked",
                meshed and all(row.lock == table.LOCK for row in meshed))
    report.true("the table names both identities of these",
                meshed and all("-" not in (row.client, row.server)
                               for row in meshed))
