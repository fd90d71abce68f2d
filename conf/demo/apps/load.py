"""
Steady traffic: load.py AUTHORITY RATE PATH...  The paths are asked for in
turn, RATE times a second.  SIGUSR1 pauses it: what is in flight ends, then
the line "paused" is logged.  SIGUSR2 goes on.
"""

import asyncio
import os
import signal
import socket
import sys

import http11

FAMILIES = {"": 0, "4": socket.AF_INET, "6": socket.AF_INET6}


class Load:
    """Calls at fixed times, whether or not the last answer is there."""

    def __init__(self, authority, rate, paths):
        self.client = http11.Client(
            authority, os.environ.get("AGENT", "load"),
            FAMILIES[os.environ.get("FAMILY", "")])
        self.period = 1.0 / rate
        self.paths = paths
        self.going = asyncio.Event()
        self.ended = asyncio.Event()
        self.tasks = set()

    async def run(self):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.going.clear)
        loop.add_signal_handler(signal.SIGUSR2, self.going.set)
        loop.add_signal_handler(signal.SIGTERM, self.end)
        self.going.set()

        number = 0
        due = loop.time()
        while not self.ended.is_set():
            if not self.going.is_set():
                await self.pause()
                due = loop.time()
                continue

            path = self.paths[number % len(self.paths)]
            number += 1
            task = loop.create_task(self.client.call("GET", path))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

            due += self.period
            await asyncio.sleep(max(0, due - loop.time()))

        await self.finish()

    async def pause(self):
        await self.finish()
        http11.log("paused")
        await self.going.wait()
        http11.log("going on")

    async def finish(self):
        if self.tasks:
            await asyncio.wait(self.tasks)

    def end(self):
        self.ended.set()
        self.going.set()


if __name__ == "__main__":
    http11.main(Load(sys.argv[1], float(sys.argv[2]), sys.argv[3:]).run())
