"""TAP for test programs in Python, and a cluster of their own."""

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback

TREE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

sys.path.insert(0, os.path.join(TREE, "auto", "lib"))
sys.dont_write_bytecode = True


class Tap:
    """Counts and prints; a test that raises is one that failed."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def ok(self, value, what, note=""):
        self.count += 1
        if not value:
            self.failed += 1
        print(f"{'ok' if value else 'not ok'} {self.count} - {what}",
              flush=True)
        if not value and note:
            self.note(note)
        return bool(value)

    def equal(self, have, want, what):
        return self.ok(have == want, what, f"have {have!r}\nwant {want!r}")

    def has(self, text, part, what):
        return self.ok(part in text, what, f"no {part!r} in {text!r}")

    def note(self, text):
        for line in str(text).splitlines():
            print(f"# {line}", flush=True)

    def run(self, tests):
        """Functions of one argument, this; then the plan."""
        for test in tests:
            try:
                test(self)
            except Exception:             # counted, with its traceback
                self.ok(False, test.__name__, traceback.format_exc())
        return self.done()

    def done(self):
        print(f"1..{self.count}")
        return 1 if self.failed or not self.count else 0


class Cluster:
    """auto/local in a directory of its own, gone with this process."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="mesh-", dir="/run")
        os.rmdir(self.root)
        self.env = dict(os.environ, MESH_LOCAL_DIR=self.root)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.local("down", "--now")

    def local(self, *words, text=None, timeout=180):
        """auto/local's exit code and output."""
        done = subprocess.run(
            [os.path.join(TREE, "auto", "local"), *words], env=self.env,
            input=text, text=True, timeout=timeout, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout

    def up(self, *words):
        return self.local("up", "--for", str(os.getpid()), *words)

    def status(self):
        return json.loads(self.local("status", "--json")[1])

    def pods(self, prefix):
        """Names of pods NS/NAME that begin like that."""
        return [f"{pod['namespace']}/{pod['name']}"
                for pod in self.status()["pods"]
                if f"{pod['namespace']}/{pod['name']}".startswith(prefix)]

    def exec(self, pod, *command, container=None, text=None):
        words = ["exec"] + (["-c", container] if container else [])
        return self.local(*words, pod, "--", *command, text=text)


def until(condition, seconds=10.0):
    """Its first true value, or the last one after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.05)
