"""An API server of Kubernetes, as far as meshd watch asks one.

Objects with versions, lists in pages, watches with bookmarks, Leases that
conflict: as the recordings in t/data/kubernetes show them.  And everything
that may go wrong on the way, which a real server shows only now and then:
see Faults.
"""

import base64
import copy
import functools
import gzip
import json
import os
import random
import re
import socket
import socketserver
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler

CORE = "/api/v1/"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
LEASES = re.compile(r"/apis/coordination\.k8s\.io/v1/namespaces/([^/]+)"
                    r"/leases(?:/([^/]+))?$")
MICROTIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
KINDS = {
    "Namespace": (CORE + "namespaces", "v1"),
    "Node": (CORE + "nodes", "v1"),
    "Service": (CORE + "services", "v1"),
    "Pod": (CORE + "pods", "v1"),
    "EndpointSlice": (SLICES, "discovery.k8s.io/v1"),
}
HISTORY = 20000


class Faults:
    """What the server does to those who ask; all of it off at first."""

    def __init__(self):
        self.split = 0                    # bytes of a write; 0: at once
        self.slow = 0                     # seconds between writes
        self.cut = 0.0                    # chance to cut after each event
        self.cut_list = 0.0               # and in the middle of a list
        self.twice = 0.0                  # chance of an event to come again
        self.swap = 0.0                   # and to come before the one before
        self.gone = 0.0                   # chance of a 410, of all three kinds
        self.refuse = 0.0                 # chance of 429, 500, 503, 504
        self.missing = set()              # paths that are not there: 404
        self.forbidden = set()            # 403
        self.answers = []                 # (part of path, status, headers,
                                          #  body), each given once
        self.garbage = []                 # lines put into the next watches
        self.hang = False                 # takes requests, says nothing


class Resource:
    def __init__(self, path, kind, version):
        self.path = path
        self.kind = kind
        self.version = version
        self.objects = {}                 # (namespace, name) -> text
        self.events = []                  # (version, type, text)
        self.first = 0                    # versions up to here are forgotten


class Api:
    """Server and the cluster behind it; a context manager."""

    def __init__(self, seed=1, tls=None):
        self.random = random.Random(seed)
        self.change = threading.Condition()
        self.now = 100                    # the version of all of it
        self.faults = Faults()
        self.tokens = None                # or a set: others get 401
        self.gzip = True
        self.bookmark_s = 1.0
        self.resources = {path: Resource(path, kind, version)
                          for kind, (path, version) in KINDS.items()}
        self.leases = {}
        self.lease_puts = []              # (time, holder, status)
        self.requests = []                # (time, method, path, status)
        self.watches = 0                  # open ones
        self.tls = tls                    # an ssl.SSLContext
        self.server = None
        self.port = 0
        self.generation = 0               # raised: all connections end
        self.connections = set()
        self.snapshots = {}               # of lists whose pages go on

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.server = Server(("127.0.0.1", self.port), self)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,),
                         daemon=True).start()

    def stop(self):
        """The server goes: its port is closed, its connections are cut."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        self.cut()

    def cut(self):
        with self.change:
            self.generation += 1
            self.change.notify_all()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    # objects

    def put(self, *objects):
        for obj in objects:
            self.store(obj)

    def store(self, obj, text=None, version=None, event=None):
        """text: as a recording has it, with its version."""
        path, api = KINDS[obj["kind"]]
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        with self.change:
            resource = self.resources[path]
            self.now = max(self.now, version or self.now + 1)
            if text is None:
                obj = copy.deepcopy(obj)
                obj["metadata"]["resourceVersion"] = str(self.now)
                obj.setdefault("apiVersion", api)
                text = json.dumps(obj, separators=(",", ":"))
            if event is None:
                event = "MODIFIED" if key in resource.objects else "ADDED"
            if event == "DELETED":
                resource.objects.pop(key, None)
            else:
                resource.objects[key] = text
            resource.events.append((self.now, event, text))
            del resource.events[:-HISTORY]
            self.change.notify_all()

    def delete(self, kind, name, namespace=""):
        path, _ = KINDS[kind]
        with self.change:
            resource = self.resources[path]
            obj = json.loads(resource.objects[namespace, name])
        self.store(obj, event="DELETED")

    def compact(self):
        """etcd forgets: what is older than now cannot be watched."""
        with self.change:
            for resource in self.resources.values():
                resource.first = self.now
                resource.events = []
            self.snapshots = {}

    def objects(self, kind=None):
        with self.change:
            return [json.loads(text) for resource in self.resources.values()
                    if kind in (None, resource.kind)
                    for text in resource.objects.values()]

    def chance(self, probability):
        with self.change:
            return self.random.random() < probability

    def count(self, part, since=0.0):
        return len([1 for at, _, path, _ in self.requests
                    if part in path and at >= since])


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address, api):
        self.api = api
        super().__init__(address, Handler)

    def get_request(self):
        connection, address = self.socket.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def finish_request(self, request, client_address):
        if self.api.tls:
            try:
                request = self.api.tls.wrap_socket(request, server_side=True)
            except (OSError, ssl.SSLError):
                return
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        pass                              # clients come and go


class Cut(Exception):
    """The connection ends here, in the middle."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.api = self.server.api
        self.generation = self.api.generation
        self.api.connections.add(self.connection)

    def log_message(self, *_):            # pylint: disable=arguments-differ
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (Cut, OSError, ValueError):
            self.close_connection = True

    def finish(self):
        self.api.connections.discard(self.connection)
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def do_GET(self):
        self.handle_any()

    def do_POST(self):
        self.handle_any()

    def do_PUT(self):
        self.handle_any()

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        self.url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(self.url.query))
        while self.api.faults.hang and \
                self.generation == self.api.generation:
            time.sleep(0.05)
        if self.generation != self.api.generation:
            raise Cut
        if not self.refused():
            self.serve(body)

    def serve(self, body):
        lease = LEASES.match(self.url.path)
        resource = self.api.resources.get(self.url.path)
        if lease:
            self.serve_lease(lease.group(1), lease.group(2), body)
        elif resource is None:
            self.missing()
        elif self.query.get("watch") == "true":
            self.serve_watch(resource)
        else:
            self.serve_list(resource)

    # refusals

    def refused(self):
        api, faults, path = self.api, self.api.faults, self.url.path
        given = self.headers.get("Authorization", "")
        for answer in list(faults.answers):
            part, status, headers, body = answer
            if part in self.path:
                faults.answers.remove(answer)
                self.answer(status, body, headers)
                return True
        if api.tokens is not None and given not in [
                "Bearer " + token for token in api.tokens]:
            self.status(401, "Unauthorized", "Unauthorized")
        elif path in faults.forbidden:
            self.status(403, "Forbidden", "pods is forbidden: User \"x\" "
                        "cannot list resource")
        elif path in faults.missing:
            self.missing()
        elif api.chance(faults.refuse):
            status = api.random.choice([429, 500, 503, 504])
            self.status(status, "Refused", "try again",
                        {"Retry-After": "1"} if status == 429 else {})
        else:
            return False
        return True

    def missing(self):
        self.answer(404, b"404 page not found\n", {},
                    "text/plain; charset=utf-8")

    def status(self, code, reason, message, headers=None, meta=None):
        self.answer(code, json.dumps({
            "kind": "Status", "apiVersion": "v1", "metadata": meta or {},
            "status": "Failure", "message": message, "reason": reason,
            "code": code}, indent=2).encode() + b"\n", headers)

    def answer(self, status, body, headers=None, kind="application/json"):
        self.note(status)
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        if self.api.gzip and len(body) > 1024 and \
                "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.send(body, self.api.faults.cut_list if status == 200 else 0)

    def note(self, status):
        self.api.requests.append((time.monotonic(), self.command, self.path,
                                  status))

    def send(self, data, cut=0.0):
        """Whole, or in pieces, or not to its end."""
        faults = self.api.faults
        if cut and self.api.chance(cut):
            self.wfile.write(data[:self.api.random.randrange(len(data))])
            self.wfile.flush()
            raise Cut
        step = faults.split or len(data) or 1
        for at in range(0, len(data), step):
            self.wfile.write(data[at:at + step])
            self.wfile.flush()
            if faults.slow:
                time.sleep(faults.slow)

    # lists

    def serve_list(self, resource):
        api = self.api
        limit = int(self.query.get("limit") or 0)
        token = self.query.get("continue")
        with api.change:
            version, start, texts = api.now, None, dict(resource.objects)
            if token:
                version, start = json.loads(base64.b64decode(token))
                start = tuple(start)
                texts = api.snapshots.get((resource.path, version))
        if texts is None or (token and api.chance(api.faults.gone)):
            self.status(410, "Expired", "The provided continue parameter is "
                        "too old", meta={"continue": "another"})
            return
        keys = sorted(key for key in texts if start is None or key > start)
        page = keys[:limit] if limit else keys
        meta = {"resourceVersion": str(version)}
        if len(page) < len(keys):
            meta["continue"] = base64.b64encode(json.dumps(
                [version, page[-1]]).encode()).decode()
            meta["remainingItemCount"] = len(keys) - len(page)
            with api.change:
                api.snapshots[resource.path, version] = texts
        self.answer(200, self.list_text(resource, meta, [
            texts[key] for key in page]).encode())

    @staticmethod
    def list_text(resource, meta, texts):
        """Items of core lists have no kind; CRDs' do, and their lists say
        who they are last."""
        if resource.path.startswith(CORE):
            return ('{"kind":"%sList","apiVersion":"%s","metadata":%s,'
                    '"items":[%s]}\n' % (
                        resource.kind, resource.version, json.dumps(meta),
                        ",".join(bare(text) for text in texts)))
        return ('{"apiVersion":"%s","items":[%s],"kind":"%sList",'
                '"metadata":%s}\n' % (resource.version, ",".join(texts),
                                      resource.kind,
                                      json.dumps(meta)))

    # watches

    def serve_watch(self, resource):
        api = self.api
        at = int(self.query.get("resourceVersion") or 0)
        end = time.monotonic() + int(self.query.get("timeoutSeconds") or 300)
        gone = at < resource.first or api.chance(api.faults.gone)
        if gone and api.random.random() < 0.5:
            self.status(410, "Expired", "too old resource version")
            return
        self.note(200)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if gone:
            self.chunk('{"type":"ERROR","object":{"kind":"Status",'
                       '"apiVersion":"v1","metadata":{},"status":"Failure",'
                       '"message":"too old resource version: %d (%d)",'
                       '"reason":"Expired","code":410}}\n' % (at, api.now))
            self.chunk("")
            return
        with api.change:
            api.watches += 1
        try:
            self.watch_on(resource, at, end)
        finally:
            with api.change:
                api.watches -= 1

    def watch_on(self, resource, at, end):
        api = self.api
        bookmark = time.monotonic() + api.bookmark_s
        while time.monotonic() < end:
            with api.change:
                if not [1 for event in resource.events[-1:]
                        if event[0] > at]:
                    api.change.wait(min(0.2, api.bookmark_s))
                if self.generation != api.generation:
                    raise Cut
                news = [event for event in resource.events if event[0] > at]
                now = api.now
            for line in self.lines(news):
                self.chunk(line)
                if api.chance(api.faults.cut):
                    raise Cut
            if news:
                at = news[-1][0]
            elif time.monotonic() > bookmark:
                bookmark = time.monotonic() + api.bookmark_s
                at = max(at, now)
                self.chunk(json.dumps({"type": "BOOKMARK", "object": {
                    "kind": resource.kind, "apiVersion": resource.version,
                    "metadata": {"resourceVersion": str(at),
                                 "creationTimestamp": None}}}) + "\n")
        self.chunk("")

    def lines(self, news):
        """Events as text; some twice, some before the one before them.  Two
        in the wrong order come in one piece: a cut between them would lose
        one for good, which no client can find out."""
        faults = self.api.faults
        rest = ['{"type":"%s","object":%s}\n' % (event, text)
                for _, event, text in news]
        while rest:
            part = [rest.pop(0)]
            if rest and self.api.chance(faults.swap):
                part.insert(0, rest.pop(0))
            if self.api.chance(faults.twice):
                part.append(part[0])
            yield "".join(part)
        while faults.garbage:
            yield faults.garbage.pop(0)

    def chunk(self, text):
        data = text.encode()
        step = self.api.faults.split or len(data) or 1
        for at in range(0, max(len(data), 1), step):
            piece = data[at:at + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            if self.api.faults.slow:
                time.sleep(self.api.faults.slow)

    # Leases

    def serve_lease(self, namespace, name, body):
        api = self.api
        sent = json.loads(body) if body else None
        if name is None and self.command == "POST":
            name = sent["metadata"]["name"]
        with api.change:
            status, value = self.lease(namespace, name, sent)
        if sent:
            api.lease_puts.append((time.monotonic(), sent["spec"].get(
                "holderIdentity"), status))
        if status in (200, 201):
            self.answer(status, json.dumps(value, indent=2).encode())
        else:
            self.status(status, {404: "NotFound", 409: "Conflict",
                                 400: "BadRequest"}[status], value)

    def lease(self, namespace, name, sent):
        api = self.api
        held = api.leases.get((namespace, name))
        if self.command == "GET":
            return (200, held) if held else (404, "not found")
        if not MICROTIME.match(sent["spec"].get("renewTime", "")):
            return 400, "parsing time: cannot parse \"Z\" as \".000000\""
        if self.command == "POST" and held:
            return 409, "already exists"
        if self.command == "PUT":
            if not held:
                return 404, "not found"
            if sent["spec"] == held["spec"]:
                return 200, held          # whatever version it names
            if sent["metadata"].get("resourceVersion") != \
                    held["metadata"]["resourceVersion"]:
                return 409, "the object has been modified"
        api.now += 1
        sent["metadata"]["resourceVersion"] = str(api.now)
        sent["metadata"].setdefault("uid", "40715d19")
        api.leases[namespace, name] = sent
        return (201 if self.command == "POST" else 200), sent


@functools.lru_cache(maxsize=50000)
def bare(text):
    obj = json.loads(text)
    obj.pop("kind", None)
    obj.pop("apiVersion", None)
    return json.dumps(obj, separators=(",", ":"))


def recorded(name):
    with open(os.path.join(os.path.dirname(__file__), "..", "data",
                           "kubernetes", name), encoding="utf-8") as file:
        return file.read()
