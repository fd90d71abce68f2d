"""Answers each connection with its host name and the client's address."""

import asyncio
import os
import signal
import sys


async def connection(reader, writer):
    request = (await reader.readline()).decode("latin-1").split()
    while (await reader.readline()).strip():
        pass                              # headers are of no interest here

    peer = writer.get_extra_info("peername")[0]
    ready = not (request[1] == "/ready" and os.path.exists("/tmp/unready"))
    body = f"{os.uname().nodename} {peer}\n".encode()
    writer.write(f"HTTP/1.1 {200 if ready else 503} -\r\n"
                 f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                 .encode() + body)
    await writer.drain()
    writer.close()


async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await asyncio.start_server(connection, ["0.0.0.0", "::"],
                               int(sys.argv[1]))
    await ended.wait()


asyncio.run(main())
