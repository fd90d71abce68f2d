#!/usr/bin/python3 -B

"""
What an idle sidecar costs: the pages that its processes have in memory, each
counted once, as if it were alone on the machine.
"""

import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "lib"))

import meshtap
import meshzoo

LIMIT = 12.0                              # MB, DESIGN section 3
PAGE = os.sysconf("SC_PAGE_SIZE")
PRESENT = 1 << 63
FRAME = (1 << 55) - 1

zoo = meshzoo.Zoo()


def frames(pid):
    """The page frames that a process has mapped and present."""
    found = set()

    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, \
            open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for line in maps:
            if "[vsyscall]" in line or "[vvar]" in line or "[vdso]" in line:
                continue                  # the kernel's own
            start, end = (int(word, 16)
                          for word in line.split()[0].split("-"))
            pagemap.seek(start // PAGE * 8)
            data = pagemap.read((end - start) // PAGE * 8)
            for (entry,) in struct.iter_unpack("<Q", data):
                if entry & PRESENT:
                    found.add(entry & FRAME)

    return found


def measure(t):
    """MB of the whole sidecar, and whether the figure is one."""
    pids = zoo.pids("zoo/greet", "")
    whole = set()
    notes = []

    for pid in pids:
        mine = frames(pid)
        notes.append(f"{len(mine) * PAGE / 1e6:6.2f} MB, "
                     f"{len(mine - whole) * PAGE / 1e6:5.2f} of them new  "
                     f"{meshzoo.cmdline(pid)[:60]}")
        whole |= mine

    return (len(whole) * PAGE / 1e6, 0 not in whole and len(pids) >= 4,
            "\n".join(notes))


def idle_sidecar(t):
    # idle is what it is some seconds after its start

    meshtap.until(lambda: measure(t)[0] <= LIMIT)
    size, good, notes = measure(t)
    t.note(notes)

    if not t.ok(good, "page frames of init, run, master and worker can be "
                "read", notes):
        return

    t.ok(size <= LIMIT, f"an idle sidecar has {size:.1f} MB, at most "
         f"{LIMIT:g} MB")


with zoo:
    tap = meshtap.Tap()
    zoo.start(tap)
    sys.exit(tap.run([idle_sidecar]))
