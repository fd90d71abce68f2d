"""
A client of Redis over one connection.  Opening and closing it is logged, so
that the mesh's count of connections can be compared.
"""

import asyncio

import http11


class Error(Exception):
    """Redis said no, or is not there."""


class Client:
    """One connection; calls wait for each other."""

    def __init__(self, authority):
        self.authority = authority
        host, _, port = authority.partition(":")
        self.host = host
        self.port = int(port)
        self.reader = None
        self.writer = None
        self.lock = asyncio.Lock()

    async def call(self, *words):
        async with self.lock:
            try:
                if self.writer is None:
                    await self.connect()
                self.writer.write(encode(words))
                await self.writer.drain()
                return await self.answer()
            except (OSError, ValueError,
                    asyncio.IncompleteReadError) as error:
                self.close()
                raise Error(f"store: {error}") from None

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection(
            self.host, self.port)
        http11.log(f"opened {self.authority}")

    def close(self):
        if self.writer is not None:
            self.writer.close()
            self.writer = None
            http11.log(f"closed {self.authority}")

    async def answer(self):
        line = (await self.reader.readline()).decode()
        if not line.endswith("\r\n"):
            raise ConnectionError("closed")
        kind, text = line[0], line[1:-2]

        if kind == "+":
            return text
        if kind == ":":
            return int(text)
        if kind == "-":
            raise Error(text)
        if kind == "$":
            if text == "-1":
                return None
            body = await self.reader.readexactly(int(text) + 2)
            return body[:-2].decode()
        if kind == "*":
            return [await self.answer() for _ in range(int(text))]
        raise ValueError(f"not an answer of Redis: {line!r}")


def encode(words):
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        data = word.encode()
        parts.append(f"${len(data)}\r\n".encode() + data + b"\r\n")
    return b"".join(parts)
