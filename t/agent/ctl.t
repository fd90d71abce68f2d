#!/usr/bin/python3

# meshctl: exit codes, files, help.

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "lib"))

from meshtap import TREE, Tap

CTL = os.path.join(os.environ.get("MESH_BUILD", os.path.join(TREE, "build")),
                   "meshctl")
TEXT = b"""\
generation 7; complete on; trust_domain cluster.local;
mesh_service shop/cart:80 { address 10.96.0.1:80; endpoint 10.0.0.1:80; }
"""


def ctl(*words, data=None):
    done = subprocess.run([CTL, *words], input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


def usage(t):
    for words in ((), ("nonsense",), ("state",), ("state", "nonsense"),
                  ("state", "compile"), ("state", "compile", "a", "b"),
                  ("state", "compile", "-x", "a"), ("state", "dump"),
                  ("state", "dump", "a", "b"), ("render",),
                  ("render", "--pod=x"), ("render", "--nonsense")):
        code, out, error = ctl(*words)
        t.ok(code == 2 and not out and error, f"{' '.join(words)!r}: usage")

    for words in (("help",), ("--help",), ("-h",), ("render", "--help")):
        code, out, error = ctl(*words)
        t.ok(code == 0 and out and not error, f"{' '.join(words)!r}: help")

    t.has(ctl("help")[1].decode(), "meshctl state compile IN [-o OUT]",
          "help has the commands")


def states(t):
    with tempfile.TemporaryDirectory() as work:
        text, one, two = (os.path.join(work, n) for n in ("t", "1", "2"))
        with open(text, "wb") as out:
            out.write(TEXT)

        t.equal(ctl("state", "compile", text, "-o", one)[0], 0, "compile -o")
        code, printed, _ = ctl("state", "dump", one)
        t.equal(code, 0, "dump")
        t.has(printed.decode(), "endpoint 10.0.0.1:80 weight=1;", "as text")

        with open(text, "wb") as out:
            out.write(printed)
        code, again, _ = ctl("state", "compile", text)
        with open(one, "rb") as stream:
            good = stream.read()
        t.ok(code == 0 and again == good, "compile(dump(x)) is x")

        with open(text, "wb") as out:
            out.write(b"complete maybe;")
        code, out, error = ctl("state", "compile", text, "-o", two)
        t.equal((code, error), (1, f'meshctl: {text}:1: "complete maybe", '
                                   'expected "on" or "off"\n'), "a mistake")
        t.ok(not os.path.exists(two), "writes nothing")

        for n in range(len(good)):
            if n % 64:
                continue
            with open(two, "wb") as out:
                out.write(good[:n] + bytes([good[n] ^ 4]) + good[n + 1:])
            code, out, error = ctl("state", "dump", two)
            if code != 1 or out or two not in error:
                t.ok(False, f"flipped at {n}", f"{code} {out} {error}")
                break
        else:
            t.ok(True, "flipped at every 64th byte: refused")

        with open(two, "wb") as out:
            out.write(good[:-1])
        t.equal(ctl("state", "dump", two)[0], 1, "truncated: refused")
        t.equal(ctl("state", "dump", work + "/none")[0], 1, "no file")
        t.equal(ctl("state", "compile", work + "/none")[0], 1, "no text")
        t.equal(ctl("state", "compile", text, "-o", work + "/no/x")[0], 1,
                "no directory")

        with open("/dev/full", "wb") as full:
            done = subprocess.run([CTL, "state", "dump", one], stdout=full,
                                  stderr=subprocess.PIPE, check=False)
        t.equal(done.returncode, 1, "a full disk is trouble")


def renders(t):
    common = ("render", "--namespace=shop", "--pod=web-1",
              f"--conf-dir={TREE}/conf")
    code, out, _ = ctl(*common, "--service-account=web")
    t.equal(code, 0, "render")
    t.has(out.decode(), "spiffe://cluster.local/ns/shop/sa/web;", "identity")
    t.ok(b"redis" not in out, "static: no way to Redis")
    t.ok(b"\nself shop/web-1;" not in out, "no documents: no state")

    code, out, _ = ctl(*common, "--redis=10.96.0.5:6379", "--ipv6=off")
    t.has(out.decode(), "endpoint=10.96.0.5:6379", "with Redis")
    t.ok(b"[::]:4143" not in out, "without IPv6")

    code, out, error = ctl(*common, "--documents=/none")
    t.ok(code == 1 and "/none" in error, "no documents there")
    code, out, error = ctl(*common[:3], "--conf-dir=/none")
    t.ok(code == 1 and "/none" in error, "no template there")


sys.exit(Tap().run([usage, states, renders]))
