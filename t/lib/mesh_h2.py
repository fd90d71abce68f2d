"""HTTP/2 at the level of frames: an application that misbehaves, a client
that sees everything.

    mesh_h2.py serve ADDRESS LOG   an application; the path says what it does
    mesh_h2.py talk                reads requests from its input

A line of input is ADDRESS METHOD PATH, then words name=value for header
fields, "body=SIZE" for a body, "cancel" to break the request off when its
response has begun, "again" to use the connection of the line before,
"trailers" to send some.  A name that begins with ":" replaces the one that
would be sent; "long=SIZE" is a field of that many bytes; "tls=FILES" makes
it mesh TLS with FILES.pem and FILES.key. What came is printed as JSON: status,
headers (a list of pairs, as they came), body, trailers, interim (a list of
statuses), reset (an error code), goaway.
"""

import json
import os
import socket
import ssl
import struct
import sys
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONT = \
    range(10)
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HUGE = b"0123456789abcdef" * 4096


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) \
        + struct.pack(">I", stream) + payload


class Served:
    """One connection of the application."""

    count = 0

    def __init__(self, sock, log):
        Served.count += 1
        self.number = Served.count
        self.sock = sock
        self.log = log
        self.data = b""
        self.decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self.encoder = hpack.Encoder()
        self.encoder.header_table_size = 0
        self.requests = {}
        self.block = b""
        self.ends = False
        self.owed = b""

    def note(self, *words):
        self.log.write(" ".join(str(w) for w in words) + "\n")
        self.log.flush()

    def read(self, size):
        while len(self.data) < size:
            got = self.sock.recv(65536)
            if not got:
                raise EOFError
            self.data += got
        data, self.data = self.data[:size], self.data[size:]
        return data

    def send(self, *frames):
        self.sock.sendall(b"".join(frames))

    def headers(self, stream, fields, flags=END_HEADERS):
        return frame(HEADERS, flags, stream, self.encoder.encode(
            [(k, v) for k, v in fields], huffman=self.number % 2 == 0))

    def run(self):
        try:
            self.read(len(PREFACE))
            self.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)),
                      frame(WINDOW, 0, 0, struct.pack(">I", 1 << 30)))
            while True:
                head = self.read(9)
                payload = self.read(int.from_bytes(head[:3], "big"))
                self.frame(head[3], head[4],
                           int.from_bytes(head[5:], "big"), payload)
        except (EOFError, OSError):
            self.note("end", self.number)
        finally:
            self.sock.close()

    def frame(self, kind, flags, stream, payload):
        if kind == SETTINGS:
            if flags & 1:
                self.note("settings acknowledged", self.number)
            else:
                self.send(frame(SETTINGS, 1, 0))
        elif kind == PING:
            self.note("pong" if flags & 1 else "ping", payload.decode())
        elif kind == RST:
            self.note("reset", int.from_bytes(payload, "big"))
        elif kind in (HEADERS, CONT):
            self.block += payload
            if flags & END_STREAM and kind == HEADERS:
                self.ends = True
            if flags & END_HEADERS:
                self.requests[stream] = [self.decoder.decode(self.block), b""]
                self.block = b""
                ends, self.ends = self.ends, False
                if ends:
                    self.answer(stream, *self.requests.pop(stream))
        elif kind == DATA:
            self.requests[stream][1] += payload
            self.send(frame(WINDOW, 0, stream, struct.pack(
                ">I", max(1, len(payload)))))
        if kind == DATA and flags & END_STREAM:
            self.answer(stream, *self.requests.pop(stream))

    def ok(self, stream, *more, flags=END_HEADERS):
        return self.headers(stream, [(":status", "200"),
                                     ("x-conn", str(self.number)), *more],
                            flags)

    def answer(self, stream, fields, body):
        fields = [(k, v) for k, v in fields]
        pseudo = dict(fields)
        path = pseudo[":path"]
        self.note(pseudo[":method"], path, self.number)
        for key, value in fields:
            self.note("header", f"{key}: {value}")

        owed, self.owed = self.owed, b""
        self.send(owed)

        word, _, argument = path[1:].partition("/")
        getattr(self, "do_" + word.replace("-", "_"), self.do_echo)(
            stream, argument, body)

    def do_echo(self, stream, argument, body):
        pieces = [body[i:i + 16384] for i in range(0, len(body), 16384)]
        self.send(self.ok(stream),
                  *(frame(DATA, 0, stream, piece) for piece in pieces),
                  frame(DATA, END_STREAM, stream))

    def do_fields(self, stream, argument, body):
        self.send(self.ok(stream, ("server", "app"), ("x-a", "1"),
                          ("x-a", "2"), ("set-cookie", "a=b"),
                          ("set-cookie", "c=d"), ("x_under.score", ""),
                          ("x-accel-redirect", "/elsewhere")),
                  frame(DATA, END_STREAM, stream, b"fields"))

    def do_end(self, stream, argument, body):
        self.send(self.ok(stream, flags=END_HEADERS | END_STREAM))

    def do_status(self, stream, argument, body):
        self.send(self.headers(stream, [(":status", argument)],
                               END_HEADERS | END_STREAM))

    def do_trailers(self, stream, argument, body):
        self.send(self.ok(stream), frame(DATA, 0, stream, b"body"),
                  self.headers(stream, [("x-trailer", "1"),
                                        ("x-trailer", "2")],
                               END_HEADERS | END_STREAM))

    def do_padded(self, stream, argument, body):
        self.send(self.ok(stream),
                  frame(DATA, PADDED, stream, b"\x05padded" + bytes(5)),
                  frame(DATA, PADDED | END_STREAM, stream, b"\x03" + bytes(3)))

    def do_reset(self, stream, argument, body):
        self.send(frame(RST, 0, stream, struct.pack(">I", int(argument))))

    def do_reset_after(self, stream, argument, body):
        self.send(self.ok(stream), frame(DATA, 0, stream, b"part"),
                  frame(RST, 0, stream, struct.pack(">I", int(argument))))

    def do_close(self, stream, argument, body):
        raise EOFError

    def do_close_after(self, stream, argument, body):
        self.send(self.ok(stream), frame(DATA, 0, stream, b"part"))
        raise EOFError

    def do_goaway(self, stream, argument, body):
        """Not looked at: whoever asks may ask somebody else."""
        self.send(frame(GOAWAY, 0, 0, struct.pack(">II", stream - 1
                                                  if stream > 1 else 0, 0)))

    def do_goaway_after(self, stream, argument, body):
        self.send(self.ok(stream), frame(GOAWAY, 0, 0, struct.pack(
            ">II", stream, 0)), frame(DATA, END_STREAM, stream, b"last"))

    def do_late(self, stream, argument, body):
        """Frames of this stream are sent when the next one has begun."""
        self.owed = frame(RST, 0, stream, bytes(4)) \
            + frame(WINDOW, 0, stream, struct.pack(">I", 7)) \
            + frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 99))
        self.do_echo(stream, argument, body)

    def do_ping(self, stream, argument, body):
        """While nothing is under way."""
        self.do_echo(stream, argument, body)

        def later():
            self.send(frame(PING, 0, 0, b"between!"),
                      frame(RST, 0, stream, bytes(4)),
                      frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 98)),
                      frame(WINDOW, 0, 0, struct.pack(">I", 5)))
            self.note("sent", self.number)
        threading.Timer(0.05, later).start()

    def do_interim(self, stream, argument, body):
        self.send(self.headers(stream, [(":status", "100")]),
                  self.headers(stream, [(":status", "103"),
                                        ("link", "</a.css>")]),
                  self.ok(stream), frame(DATA, END_STREAM, stream, b"final"))

    def do_extensions(self, stream, argument, body):
        self.send(frame(0xa, 0, 0, b"\0\0clear"), self.ok(stream),
                  frame(0x10, 0, 0, b"\0\0\0\1u=1"),
                  frame(PRIORITY, 0, stream, bytes(5)),
                  frame(DATA, END_STREAM, stream, b"extended"))

    def do_garbage(self, stream, argument, body):
        self.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def do_slow(self, stream, argument, body):
        self.send(self.ok(stream), frame(DATA, 0, stream, b"part"))


def serve(address, path):
    host, _, port = address.rpartition(":")
    listener = socket.create_server(
        (host.strip("[]"), int(port)), backlog=512,
        family=socket.AF_INET6 if "[" in host else socket.AF_INET)
    with open(path, "a") as log:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Served(sock, log).run,
                             daemon=True).start()


class Caller:
    def __init__(self, address, files=None):
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host.strip("[]"), int(port)),
                                             timeout=10)
        if files:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(
                os.path.join(os.path.dirname(files), "root.crt"))
            context.load_cert_chain(f"{files}.pem", f"{files}.key")
            context.set_alpn_protocols(["mesh/1", "h2"])
            self.sock = context.wrap_socket(self.sock)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            header_encoding="utf-8", validate_inbound_headers=False,
            normalize_outbound_headers=False,
            validate_outbound_headers=False))
        self.h2.initiate_connection()
        self.stream = None

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def request(self, address, method, path, fields, size, cancel, trailers):
        self.stream = self.h2.get_next_available_stream_id()
        result = {"status": None, "headers": [], "body": "", "trailers": [],
                  "interim": []}
        pseudo = {":method": method, ":scheme": "http", ":path": path,
                  ":authority": address}
        for name, value in fields:
            if name in pseudo:
                pseudo[name] = value
        self.h2.send_headers(
            self.stream, [*((n, v) for n, v in pseudo.items() if v),
                          *(f for f in fields if f[0] not in pseudo)],
            end_stream=size is None and not trailers)
        if trailers:
            self.h2.send_headers(self.stream, [("x-late", "1")],
                                 end_stream=True)
        left = size
        while True:
            while left is not None:
                room = min(self.h2.local_flow_control_window(self.stream),
                           self.h2.max_outbound_frame_size, left)
                if room == 0 and left:
                    break
                self.h2.send_data(self.stream, HUGE[:room],
                                  end_stream=room == left)
                left = left - room or None
                if room == 0:
                    left = None
            self.flush()
            if not self.events(result, cancel):
                break
        return result

    @staticmethod
    def gone(data):
        return frame(GOAWAY, 0, 0, bytes(8))[:9] in data

    def events(self, result, cancel):
        data = self.sock.recv(65536)
        if not data:
            result["closed"] = True
            return False
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            # the library takes no frame after GOAWAY, though more may come
            if not self.gone(data):
                raise
            result["goaway"] = 0
            return False
        for event in events:
            if isinstance(event, h2.events.ConnectionTerminated):
                result["goaway"] = int(event.error_code)
            if getattr(event, "stream_id", None) != self.stream:
                continue
            if isinstance(event, h2.events.InformationalResponseReceived):
                result["interim"].append(int(dict(event.headers)[":status"]))
            elif isinstance(event, h2.events.ResponseReceived):
                result["status"] = int(dict(event.headers)[":status"])
                result["headers"] = [f for f in event.headers
                                     if f[0] != ":status"]
                if cancel:
                    self.h2.reset_stream(self.stream, 8)
                    self.flush()
                    return False
            elif isinstance(event, h2.events.DataReceived):
                result["body"] += event.data.decode()
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length, self.stream)
            elif isinstance(event, h2.events.TrailersReceived):
                result["trailers"] = event.headers
            elif isinstance(event, h2.events.StreamReset):
                result["reset"] = int(event.error_code)
                self.flush()
                return False
            elif isinstance(event, h2.events.StreamEnded):
                self.flush()
                return False
        return True


def talk():
    caller = None
    for line in sys.stdin:
        address, method, path, *words = line.split()
        size = files = None
        fields = []
        for word in words:
            name, _, value = word.partition("=")
            if name == "body":
                size = int(value)
            elif name == "tls":
                files = value
            elif name == "long":
                fields.append(("x-long", "l" * int(value)))
            elif word not in ("cancel", "again", "trailers"):
                fields.append((name, value))
        try:
            if caller is None or "again" not in words:
                caller = Caller(address, files)
            result = caller.request(address, method, path, fields, size,
                                    "cancel" in words, "trailers" in words)
        except (OSError, h2.exceptions.ProtocolError) as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        if len(result.get("body", "")) > 1000:
            result["body"] = len(result["body"])
        print(json.dumps(result), flush=True)


if sys.argv[1] == "serve":
    serve(*sys.argv[2:])
else:
    talk()
