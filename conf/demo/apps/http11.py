"""
HTTP/1.1 with keep-alive in both directions, as little as the shop needs.
One line is logged for each request served and for each request sent, so that
the mesh's counters can be compared with what really happened.
"""

import asyncio
import os
import signal
import sys

MAX_HEAD = 16384
LINGER = 1.0               # s to go on after TERM, while the endpoint leaves


def log(text):
    """One write per line: nothing is lost or mixed."""
    os.write(1, (text + "\n").encode())


class Closed(Exception):
    """The other side closed where a message could have begun."""


async def read_head(reader):
    """The start line's words and a dict of headers, in lower case."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ConnectionError("closed within a head") from None
        raise Closed from None

    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name:
            headers[name.strip().lower()] = value.strip()
    return lines[0].split(" ", 2), headers


async def read_body(reader, headers, to_end=False):
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = b""
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            body += await reader.readexactly(size)
            await reader.readline()
            if size == 0:
                return body

    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))

    return await reader.read() if to_end else b""


def keeps(headers):
    return "close" not in headers.get("connection", "").lower()


class Server:
    """Serves handler(method, path, body) -> (status, body)."""

    def __init__(self, handler):
        self.handler = handler
        self.busy = 0
        self.ending = False
        self.writers = set()

    async def serve(self, port):
        server = await asyncio.start_server(
            self.connection, host=["0.0.0.0", "::"], port=port,
            limit=MAX_HEAD, backlog=512)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, ended.set)

        await ended.wait()
        await asyncio.sleep(LINGER)

        # the sidecar ends after us: let what is in flight finish

        self.ending = True
        server.close()
        while self.busy:
            await asyncio.sleep(0.02)
        for writer in self.writers:
            writer.close()

    async def connection(self, reader, writer):
        self.writers.add(writer)
        try:
            keep = True
            while keep:
                keep = await self.request(reader, writer)
        except (Closed, ConnectionError, ValueError,
                asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass                          # the client's affair
        finally:
            self.writers.discard(writer)
            writer.close()

    async def request(self, reader, writer):
        words, headers = await read_head(reader)
        method, path = words[0], words[1]
        body = await read_body(reader, headers)

        self.busy += 1
        try:
            status, answer = await self.handler(method, path, body)
            keep = keeps(headers) and not self.ending
            agent = headers.get("user-agent", "-").split(" ")[0]
            log(f"served {method} {path} {status} {agent}")

            writer.write(
                f"HTTP/1.1 {status} {'OK' if status < 400 else 'Error'}\r\n"
                "Content-Type: text/plain\r\n"
                f"Content-Length: {len(answer)}\r\n"
                f"{'' if keep else 'Connection: close' + chr(13) + chr(10)}"
                "\r\n".encode() + answer)
            await writer.drain()
            return keep
        finally:
            self.busy -= 1


class Client:
    """Keeps idle connections to one service."""

    def __init__(self, authority, agent, family=0):
        self.authority = authority
        self.agent = agent
        self.family = family
        host, _, port = authority.partition(":")
        self.host = host
        self.port = int(port or 80)
        self.idle = []

    async def call(self, method, path, body=b""):
        """(status, body); status 0: there was no answer."""
        error = "-"
        while True:
            reader = writer = None
            reused = bool(self.idle)
            try:
                if reused:
                    reader, writer = self.idle.pop()
                else:
                    reader, writer = await asyncio.open_connection(
                        self.host, self.port, family=self.family)
                status, answer, keep, error = await self.exchange(
                    reader, writer, method, path, body)
                break
            except Closed:
                writer.close()
                if not reused:
                    status, answer, keep = 0, b"no answer", False
                    break
            except (OSError, ValueError,
                    asyncio.IncompleteReadError) as failure:
                status, answer, keep = 0, str(failure).encode(), False
                break

        if keep:
            self.idle.append((reader, writer))
        elif writer is not None:
            writer.close()

        if status == 0:
            error = answer.decode("latin-1")
        log(f"sent {self.authority} {method} {path} {status} {error}")
        return status, answer

    async def exchange(self, reader, writer, method, path, body):
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        writer.write(f"{method} {path} HTTP/1.1\r\n"
                     f"Host: {self.authority}\r\n"
                     f"User-Agent: {self.agent}\r\n{length}\r\n".encode()
                     + body)
        await writer.drain()

        words, headers = await read_head(reader)
        answer = await read_body(reader, headers, to_end=True)
        keep = keeps(headers) and ("content-length" in headers
                                   or "transfer-encoding" in headers)
        error = headers.get("mesh-error", "-").partition(";")[0]
        return int(words[1]), answer, keep, error


def main(coroutine):
    try:
        asyncio.run(coroutine)
    except KeyboardInterrupt:
        sys.exit(0)
