"""
kubelet's probes, played from the node: startup, readiness and liveness by
httpGet, tcpSocket or exec, to the pod's address like in a cluster.
"""

import asyncio
import signal
import ssl

from . import processes

FAST = 0.2                 # s between tries until the first success

TLS = ssl.create_default_context()
TLS.check_hostname = False                # kubelet does not verify either
TLS.verify_mode = ssl.CERT_NONE


class Prober:
    """Runs the probes of one container while its process lives."""

    def __init__(self, container):
        self.container = container
        self.tasks = []

    def start(self):
        self.tasks = [asyncio.get_running_loop().create_task(self._run())]

    def stop(self):
        for task in self.tasks:
            task.cancel()

    async def _run(self):
        c = self.container

        startup = c.spec.get("startupProbe")
        if startup and not await self._until(startup, "startup"):
            return

        c.started = True
        if not c.spec.get("readinessProbe"):
            c.ready = True
        c.notify()

        loop = asyncio.get_running_loop()
        if c.spec.get("readinessProbe"):
            self.tasks.append(loop.create_task(
                self._readiness(c.spec["readinessProbe"])))
        if c.spec.get("livenessProbe"):
            self.tasks.append(loop.create_task(
                self._until(c.spec["livenessProbe"], "liveness")))

    async def _until(self, probe, what):
        """
        startup: returns True with the first success.  Both kinds end the
        container after failureThreshold failures in a row.
        """
        c = self.container
        period = probe.get("periodSeconds", 10)
        limit = probe.get("failureThreshold", 3)
        failures = 0

        await asyncio.sleep(probe.get("initialDelaySeconds", 0))

        while True:
            error = await once(c, probe)
            if error is None:
                if what == "startup":
                    return True
                failures = 0
            else:
                failures += 1

            if failures >= limit:
                c.event(f"{what} probe failed {failures} times: {error}")
                c.signal(signal.SIGTERM)
                await asyncio.sleep(
                    c.pod.spec["terminationGracePeriodSeconds"])
                c.signal(signal.SIGKILL)
                return False

            await asyncio.sleep(period)

    async def _readiness(self, probe):
        c = self.container
        period = probe.get("periodSeconds", 10)
        rise = probe.get("successThreshold", 1)
        fall = probe.get("failureThreshold", 3)
        good = bad = 0
        last = None

        await asyncio.sleep(probe.get("initialDelaySeconds", 0))

        while True:
            error = await once(c, probe)
            if error is None:
                good, bad = good + 1, 0
            else:
                good, bad = 0, bad + 1

            if error is not None and error != last:
                c.event(f"readiness probe: {error}")
            last = error

            ready = c.ready
            if good >= rise:
                ready = True
            elif bad >= fall:
                ready = False
            if ready != c.ready:
                c.ready = ready
                c.notify()

            await asyncio.sleep(period if c.ready else min(FAST, period))


async def once(container, probe):
    """None, or what is wrong."""
    timeout = probe.get("timeoutSeconds", 1)
    try:
        if "exec" in probe:
            return await _exec(container, probe["exec"]["command"], timeout)
        if "tcpSocket" in probe:
            return await asyncio.wait_for(
                _tcp(container, probe["tcpSocket"]), timeout)
        if "httpGet" in probe:
            return await asyncio.wait_for(
                _http(container, probe["httpGet"]), timeout)
    except asyncio.TimeoutError:
        return f"no answer in {timeout} s"
    except OSError as error:
        return error.strerror or str(error)
    return "a probe of no known kind"


def _address(container, spec):
    host = spec.get("host") or container.pod.ips[0]
    return host, number_of(container.spec, spec["port"])


def number_of(spec, port):
    """A port by number or by its name in the container."""
    if isinstance(port, int):
        return port
    for entry in spec.get("ports") or []:
        if entry.get("name") == port:
            return entry["containerPort"]
    raise OSError(f'no port is named "{port}"')


async def _tcp(container, spec):
    host, port = _address(container, spec)
    _, writer = await asyncio.open_connection(host, port)
    writer.close()


async def _http(container, spec):
    host, port = _address(container, spec)
    reader, writer = await asyncio.open_connection(
        host, port, ssl=TLS if spec.get("scheme") == "HTTPS" else None)

    try:
        headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.29",
                   "Accept": "*/*", "Connection": "close"}
        for header in spec.get("httpHeaders") or []:
            headers[header["name"]] = header["value"]
        head = "".join(f"{name}: {value}\r\n"
                       for name, value in headers.items())
        writer.write(f"GET {spec.get('path', '/')} HTTP/1.1\r\n"
                     f"{head}\r\n".encode())
        line = (await reader.readline()).decode("latin-1")
        words = line.split()
        if len(words) < 2 or not words[1].isdigit():
            return f"not an HTTP answer: {line.strip()[:60]!r}"
        container.probe_answers[words[1]] += 1
        body = await reader.read(4096)
        if 200 <= int(words[1]) < 400:
            return None
        text = body.partition(b"\r\n\r\n")[2].decode("latin-1").strip()
        return f"status {words[1]}: {text.splitlines()[:1]}"
    finally:
        writer.close()


async def _exec(container, command, timeout):
    pid = container.spawn_beside(command)
    ended = container.pod.node.reaper.watch(pid)
    await asyncio.wait([ended], timeout=timeout)

    if not ended.done():
        processes.send(pid, signal.SIGKILL)
        return f"no end in {timeout} s"
    code = ended.result()
    return None if code == 0 else f"ended with {code}"
