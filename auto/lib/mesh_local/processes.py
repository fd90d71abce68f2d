"""
Children of the supervisor.  It is PID 1 of the cluster's PID namespace, so
every process that loses its parent ends up here too and is reaped.
"""

import asyncio
import os
import signal
import sys
import traceback

from . import linux


class Reaper:
    """Gives each child's exit status to who waits for it."""

    def __init__(self):
        self.waiting = {}

    def start(self):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self.reap)

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            future = self.waiting.pop(pid, None)
            if future is not None and not future.done():
                future.set_result(os.waitstatus_to_exitcode(status))

    def watch(self, pid):
        """A future of pid's exit code (negative: the signal)."""
        future = asyncio.get_running_loop().create_future()
        self.waiting[pid] = future
        return future


def fork_into(enter, run, output):
    """
    Forks twice: the first child calls enter() (which may set namespaces),
    the second one, which a new PID namespace makes its PID 1, calls run(),
    which ends in exec.  What goes wrong before that is written to output.
    Returns the second child's pid; its parent becomes the supervisor.
    """
    reader, writer = os.pipe()
    first = os.fork()

    if first == 0:
        code = 126
        try:
            linux.reset_signals()
            enter()
            second = os.fork()
            if second == 0:
                os.setsid()
                run()                     # does not return
            os.write(writer, b"%d" % second)
            code = 0
        except BaseException as error:    # a child must never go back
            _complain(output, error)
        finally:
            os._exit(code)

    os.close(writer)
    try:
        answer = os.read(reader, 32)
    finally:
        os.close(reader)
        os.waitpid(first, 0)

    if not answer:
        raise OSError(f"cannot start a process, see {output}")
    return int(answer)


def redirect(output):
    """stdin from nowhere, stdout and stderr to the end of output."""
    null = os.open("/dev/null", os.O_RDONLY)
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _complain(output, error):
    with open(output, "a", encoding="utf-8") as log:
        log.write(f"auto/local: {type(error).__name__}: {error}\n")
        if not isinstance(error, OSError):
            traceback.print_exc(file=log)
    sys.stderr.flush()


def alive(pid):
    """Is pid there and not a zombie?"""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii",
                  errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass                              # it has just ended
