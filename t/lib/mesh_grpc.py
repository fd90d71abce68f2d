"""A gRPC application and its caller, without protobuf.

    mesh_grpc.py serve ADDRESS LOG       a server; notes one line a call
    mesh_grpc.py call ADDRESS SHAPE ...  one call, printed as JSON
    mesh_grpc.py load ADDRESS ...        many, mixed; sums printed as JSON
    mesh_grpc.py talk                    reads lines of what follows "call"

Shapes are unary, server, client, bidi and their metadata say what is asked:
x-seed and x-size for the bytes of each message (see payload()), x-count for
how many are sent back, x-status for the status that ends the call, x-sleep
for seconds of thought.  Both sides check every byte, metadata and trailers.
"""

import argparse
import asyncio
import collections
import json
import os
import random
import signal
import sys
import time

import grpc
import grpc.aio

MIB = 1 << 20
BASE = random.Random(1).randbytes(16 * MIB + 65536)
OPTIONS = [("grpc.max_receive_message_length", -1),
           ("grpc.max_send_message_length", -1),
           ("grpc.so_reuseport", 0),
           ("grpc.use_local_subchannel_pool", 1),
           ("grpc.enable_http_proxy", 0)]
SERVICE = "mesh.Test"
CODES = {code.value[0]: code for code in grpc.StatusCode}


def payload(seed, size):
    start = seed * 7919 % 65536
    return BASE[start:start + size]


# the server


class Server:
    def __init__(self, log):
        self.log = open(log, "a", buffering=1)
        self.counts = collections.Counter()

    def note(self, *words):
        self.log.write(" ".join(str(w) for w in words) + "\n")

    def handler(self, details):
        shape = details.method.rpartition("/")[2]
        make = {"unary": grpc.unary_unary_rpc_method_handler,
                "server": grpc.unary_stream_rpc_method_handler,
                "client": grpc.stream_unary_rpc_method_handler,
                "bidi": grpc.stream_stream_rpc_method_handler}.get(shape)
        return make and make(getattr(self, shape))

    async def begin(self, context, shape):
        asked = {}
        for key, value in context.invocation_metadata():
            asked[key] = value
        asked["seed"] = int(asked.get("x-seed", 0))
        asked["size"] = int(asked.get("x-size", 0))
        asked["count"] = int(asked.get("x-count", 1))
        asked["shape"] = shape
        if "x-note" in asked:
            self.note(shape, asked["x-note"], asked.get("host", "-"),
                      "deadline" if context.time_remaining() else "no")
            for key, value in asked.items():
                if key not in ("seed", "size", "count", "shape"):
                    self.note("metadata", f"{key}: {value}")
        if "x-sleep" in asked:
            try:
                await asyncio.sleep(float(asked["x-sleep"]))
            except asyncio.CancelledError:
                self.note(shape, "cancelled")
                raise
        return asked

    async def end(self, context, asked):
        status = int(asked.get("x-status", 0))
        self.counts[f"{asked['shape']} {status}"] += 1
        trailers = (("x-trailer", str(asked["seed"])),
                    ("x-trailer-bin", payload(asked["seed"], 9)))
        if status:
            await context.abort(CODES[status], f"asked for {status}",
                                trailers)
        context.set_trailing_metadata(trailers)

    async def check(self, context, asked, message, n=0):
        want = int(asked.get("x-sent", 0))
        if message != payload(asked["seed"] + n, want):
            self.note("bad bytes", asked["shape"], asked["seed"], n,
                      len(message), want)
            await context.abort(grpc.StatusCode.DATA_LOSS, "bad bytes")

    async def head(self, context, asked):
        await context.send_initial_metadata(
            [("x-head", asked.get("x-text", "")),
             ("x-head-bin", asked.get("x-text-bin", b""))])

    async def unary(self, message, context):
        asked = await self.begin(context, "unary")
        await self.check(context, asked, message)
        if int(asked.get("x-status", 0)) == 0:
            await self.head(context, asked)
        await self.end(context, asked)
        return payload(asked["seed"], asked["size"])

    async def server(self, message, context):
        asked = await self.begin(context, "server")
        await self.check(context, asked, message)
        await self.head(context, asked)
        for n in range(asked["count"]):
            yield payload(asked["seed"] + n, asked["size"])
        await self.end(context, asked)

    async def client(self, messages, context):
        asked = await self.begin(context, "client")
        await self.head(context, asked)
        n = 0
        async for message in messages:
            await self.check(context, asked, message, n)
            n += 1
        await self.end(context, asked)
        return str(n).encode()

    async def bidi(self, messages, context):
        asked = await self.begin(context, "bidi")
        await self.head(context, asked)
        n = 0
        async for message in messages:
            await self.check(context, asked, message, n)
            yield payload(asked["seed"] + n, asked["size"])
            n += 1
        await self.end(context, asked)


class Handlers(grpc.GenericRpcHandler):
    def __init__(self, server):
        self.server = server

    def service(self, details):
        return self.server.handler(details)


async def serve(args):
    server = Server(args.log)
    grpc_server = grpc.aio.server(options=OPTIONS)
    grpc_server.add_generic_rpc_handlers([Handlers(server)])
    if grpc_server.add_insecure_port(args.address) == 0:
        sys.exit(f"cannot listen on {args.address}")
    await grpc_server.start()

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server.note("ready")
    await stop.wait()
    await grpc_server.stop(float(args.grace))
    with open(args.log + ".json", "w") as out:
        json.dump(server.counts, out)


# the caller


class Wrong(Exception):
    pass


def fields(metadata):
    return {key: value for key, value in metadata or ()}


class Client:
    """One connection, and how to make each shape of call on it."""

    def __init__(self, address):
        self.channel = grpc.aio.insecure_channel(address, options=OPTIONS)

    def make(self, shape):
        make = {"unary": self.channel.unary_unary,
                "server": self.channel.unary_stream,
                "client": self.channel.stream_unary,
                "bidi": self.channel.stream_stream}[shape]
        return make(f"/{SERVICE}/{shape}")

    async def call(self, shape, seed=0, sent=0, size=0, count=1, status=0,
                   timeout=None, cancel=False, patience=None, more=()):
        text = f"t{seed}"
        metadata = [("x-seed", str(seed)), ("x-sent", str(sent)),
                    ("x-size", str(size)), ("x-count", str(count)),
                    ("x-text", text), ("x-text-bin", payload(seed, 5)),
                    *more]
        if status:
            metadata.append(("x-status", str(status)))

        make = self.make(shape)
        if shape in ("unary", "server"):
            call = make(payload(seed, sent), metadata=metadata,
                        timeout=timeout)
        else:
            call = make(metadata=metadata, timeout=timeout)
        got = 0
        if patience:
            asyncio.get_running_loop().call_later(patience, call.cancel)
        try:
            if shape == "unary":
                answer = await call
                self.same(answer, payload(seed, size), "answer")
                got = 1
            elif shape == "server":
                async for answer in call:
                    self.same(answer, payload(seed + got, size), "answer")
                    got += 1
                    if cancel:
                        call.cancel()
                        return grpc.StatusCode.CANCELLED, got, "", {}
            elif shape == "client":
                for n in range(count):
                    await call.write(payload(seed + n, sent))
                await call.done_writing()
                self.same(await call, str(count).encode(), "answer")
                got = 1
            else:
                for n in range(count):
                    await call.write(payload(seed + n, sent))
                    answer = await call.read()
                    if answer is grpc.aio.EOF:
                        break
                    self.same(answer, payload(seed + n, size), "answer")
                    got += 1
                await call.done_writing()
                while await call.read() is not grpc.aio.EOF:
                    raise Wrong("more answers than messages")
        except grpc.aio.AioRpcError:
            pass
        except (asyncio.InvalidStateError, asyncio.CancelledError):
            pass

        code = await call.code()
        details = await call.details()
        trailers = fields(await call.trailing_metadata())
        if code == CODES[status]:
            self.same(trailers.get("x-trailer"), str(seed), "x-trailer")
            self.same(trailers.get("x-trailer-bin"), payload(seed, 9),
                      "x-trailer-bin")
            if status:
                self.same(details, f"asked for {status}", "grpc-message")
            if not status or shape != "unary":
                head = fields(await call.initial_metadata())
                self.same(head.get("x-head"), text, "x-head")
                self.same(head.get("x-head-bin"), payload(seed, 5),
                          "x-head-bin")
            want = {"unary": 0 if status else 1, "server": count,
                    "client": 0 if status else 1, "bidi": count}[shape]
            self.same(got, want, "count of answers")
        return code, got, details, trailers

    @staticmethod
    def same(got, want, what):
        if got != want:
            if isinstance(got, (bytes, str)) and len(got) > 60:
                got = f"{len(got)} bytes"
            if isinstance(want, (bytes, str)) and len(want) > 60:
                want = f"{len(want)} bytes"
            raise Wrong(f"{what}: got {got!r}, not {want!r}")


async def one(args):
    client = Client(args.address)
    more = [tuple(m.split("=", 1)) for m in args.metadata]
    began = time.monotonic()
    try:
        code, got, details, trailers = await client.call(
            args.shape, seed=args.seed, sent=args.sent, size=args.size,
            count=args.count, status=args.status, timeout=args.timeout,
            cancel=args.cancel, patience=args.patience, more=more)
        result = {"code": code.value[0], "got": got, "details": details,
                  "trailers": {k: v if isinstance(v, str) else v.hex()
                               for k, v in trailers.items()}}
    except Wrong as wrong:
        result = {"wrong": str(wrong)}
    result["seconds"] = time.monotonic() - began
    await client.channel.close()
    print(json.dumps(result))


def sizes(rnd, large):
    if large:
        return rnd.randrange(MIB, 16 * MIB + 1)
    kind = rnd.random()
    if kind < 0.1:
        return 0
    if kind < 0.5:
        return rnd.randrange(1, 100)
    if kind < 0.95:
        return rnd.randrange(1, 8192)
    return rnd.randrange(1, 131072)


def plan(rnd, seed, large):
    """What call number seed is."""
    shape = rnd.choice(("unary", "unary", "server", "client", "bidi"))
    status = rnd.choice((0, 0, 0, 0, 0, 0, 0, rnd.randrange(1, 17)))
    least = 0 if shape == "client" else 1
    count = 1 if shape == "unary" or large else rnd.randrange(least, 8)
    return {"shape": shape, "seed": seed, "status": status, "count": count,
            "sent": sizes(rnd, large), "size": sizes(rnd, large)}


async def load(args):
    rnd = random.Random(args.seed)
    every = max(1, args.calls // args.large) if args.large else args.calls + 1
    todo = collections.deque(
        plan(rnd, args.seed + n, n % every == every - 1)
        for n in range(args.calls))
    counts = collections.Counter()
    wrong = []

    async def work(client):
        while todo and len(wrong) < 20:
            call = todo.popleft()
            want = call["status"]
            try:
                code, _, details, _ = await client.call(
                    timeout=args.timeout, **call)
                if code.value[0] != want:
                    raise Wrong(f"status {code.value[0]} ({details}), "
                                f"not {want}")
                counts[f"{call['shape']} {want}"] += 1
            except Wrong as error:
                wrong.append(f"{call}: {error}")

    clients = [Client(args.address) for _ in range(args.connections)]
    began = time.monotonic()
    await asyncio.gather(*(work(client) for client in clients
                           for _ in range(args.streams)))
    for client in clients:
        await client.channel.close()
    print(json.dumps({"right": sum(counts.values()), "wrong": wrong,
                      "counts": counts,
                      "seconds": time.monotonic() - began}))


async def talk(args):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await one(parse(["call", *line.split()]))
        sys.stdout.flush()


def parse(words):
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)

    verbs.add_parser("talk")

    verb = verbs.add_parser("serve")
    verb.add_argument("address")
    verb.add_argument("log")
    verb.add_argument("--grace", default="0.5")

    verb = verbs.add_parser("call")
    verb.add_argument("address")
    verb.add_argument("shape")
    verb.add_argument("--cancel", action="store_true")
    verb.add_argument("--patience", type=float)
    verb.add_argument("--metadata", action="append", default=[])
    for name in "seed", "sent", "size", "status":
        verb.add_argument(f"--{name}", type=int, default=0)
    verb.add_argument("--count", type=int, default=1)
    verb.add_argument("--timeout", type=float, default=20)

    verb = verbs.add_parser("load")
    verb.add_argument("address")
    verb.add_argument("--calls", type=int, default=1000)
    verb.add_argument("--connections", type=int, default=4)
    verb.add_argument("--streams", type=int, default=16)
    verb.add_argument("--large", type=int, default=0)
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--timeout", type=float, default=600)

    return parser.parse_args(words)


def main():
    args = parse(sys.argv[1:])
    os.environ.pop("http_proxy", None)
    asyncio.run({"serve": serve, "call": one, "load": load,
                 "talk": talk}[args.verb](args))

    # grpc.aio of Debian's Python 3.14 fails when the interpreter ends
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
