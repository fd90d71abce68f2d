"""The system calls that Python lacks: namespaces, mounts, prctl."""

import ctypes
import os
import signal
import socket

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15

SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(rc, what):
    if rc != 0:
        err = ctypes.get_errno()
        raise OSError(err, f"{what}: {os.strerror(err)}")


def _bytes(text):
    return None if text is None else os.fsencode(text)


def unshare(flags):
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(path, flags=0):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, flags), f"setns {path}")
    finally:
        os.close(fd)


def mount(source, target, kind=None, flags=0, data=None):
    rc = _libc.mount(_bytes(source), _bytes(target), _bytes(kind),
                     ctypes.c_ulong(flags), _bytes(data))
    _check(rc, f"mount {source} on {target}")


def bind(source, target, readonly=False, recursive=False):
    flags = MS_BIND | (MS_REC if recursive else 0)
    mount(source, target, None, flags)

    if readonly:
        mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def umount(target):
    _check(_libc.umount2(_bytes(target), MNT_DETACH), f"umount {target}")


def pivot_root(new, old):
    number = SYS_PIVOT_ROOT[os.uname().machine]
    rc = _libc.syscall(ctypes.c_long(number), _bytes(new), _bytes(old))
    _check(rc, f"pivot_root {new}")


def set_name(name):
    """What ps shows of the calling process."""
    _libc.prctl(PR_SET_NAME, _bytes(name[:15]), 0, 0, 0)


def set_hostname(name):
    socket.sethostname(name)


def reset_signals():
    """Undoes in a forked child what Python and asyncio did to signals."""
    signal.set_wakeup_fd(-1)
    for number in range(1, signal.NSIG):
        if number in (signal.SIGKILL, signal.SIGSTOP):
            continue
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue                      # 32, 33: the C library's own
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def outer_pids(init_pid):
    """
    Maps pids inside init_pid's pid namespace to the caller's, by the NSpid
    lines of /proc.  init_pid is in the caller's numbers.
    """
    inside = os.stat(f"/proc/{init_pid}/ns/pid").st_ino
    depth = len(_ns_pids(init_pid))
    pids = {}

    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        numbers = _ns_pids(int(name))
        if len(numbers) >= depth and _below(int(name), inside):
            pids[numbers[depth - 1]] = int(name)

    return pids


def _ns_pids(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii",
                  errors="replace") as status:
            for line in status:
                if line.startswith("NSpid:"):
                    return [int(word) for word in line.split()[1:]]
    except OSError:
        pass                              # ended meanwhile
    return []


def _below(pid, inode):
    """Is pid in that pid namespace or in one below it?"""
    try:
        fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
    except OSError:
        return False

    NS_GET_PARENT = 0xb702
    try:
        while True:
            if os.fstat(fd).st_ino == inode:
                return True
            parent = _libc.ioctl(fd, NS_GET_PARENT)
            if parent < 0:
                return False
            os.close(fd)
            fd = parent
    finally:
        os.close(fd)
