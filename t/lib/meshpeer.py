"""t/lib/peer.py in a pod: mesh TLS with any certificate, and what became of
it."""

import json
import os
import queue
import signal
import subprocess
import threading

import meshzoo

PEER = ["/usr/bin/python3", "-B", "/lib-of-tests/peer.py"]


class Peer:
    """A running peer.py; events are read as they come."""

    def __init__(self, zoo, app, words, leaf):
        self.process = zoo.spawn(app, *PEER, *words, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        self.queue = queue.Queue()
        self.events = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.say(json.dumps(leaf))

    def read(self):
        for line in self.process.stdout:
            self.queue.put(json.loads(line))
        self.queue.put(None)

    def say(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass                          # it has ended, and said why

    def next(self, seconds=20):
        """The next event; None: it has ended"""
        event = self.queue.get(timeout=seconds)
        if event is not None:
            self.events.append(event)
        return event

    def until(self, *names, seconds=20):
        while True:
            event = self.next(seconds)
            if event is None or event["event"] in names:
                return event

    def found(self, name):
        return [event for event in self.events if event["event"] == name]

    def drain(self):
        """What has come so far"""
        while not self.queue.empty():
            event = self.queue.get()
            if event is not None:
                self.events.append(event)
        return self.events

    def end(self):
        for pid in meshzoo.descendants(self.process.pid):
            if meshzoo.cmdline(pid).startswith("/usr/bin/python3"):
                os.kill(pid, signal.SIGTERM)
        self.process.wait(timeout=10)
        self.reader.join(timeout=10)
        return self.drain()


class Caller(Peer):
    """One connection to where, with leaf as certificate"""

    def __init__(self, zoo, app, kind, where, leaf):
        super().__init__(zoo, app, ["call", kind, where], leaf)

    def ask(self, word):
        """The answer, or None: closed"""
        self.say(word)
        event = self.until("answer", "closed")
        return event["text"] if event and event["event"] == "answer" else None


class Impostor(Peer):
    """A server that pretends to be a sidecar"""

    def __init__(self, zoo, app, kind, port, leaf):
        super().__init__(zoo, app, ["serve", kind, str(port)], leaf)
        self.until("listening")
