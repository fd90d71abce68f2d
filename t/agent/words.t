#!/usr/bin/python3

# Values that try to be more than a word, rendered by meshctl and read back by
# nginx: "return 200 WORD" answers with what it understood.

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import sidecar

sidecar.isolate()

from meshtap import Tap, until
from sidecar import BUILD, NGINX, get

TEMPLATE = """\
daemon off;
master_process off;
pid DIR/pid;
error_log stderr emerg;
events {}
http {
    access_log off;
    client_body_temp_path DIR/t;
    proxy_temp_path DIR/t;
    fastcgi_temp_path DIR/t;
    uwsgi_temp_path DIR/t;
    scgi_temp_path DIR/t;
    server {
        listen 127.0.0.1:4143;
        location / { return 200 ${mesh_module}; }
    }
}
"""

WORDS = [
    "plain", "/run/mesh/x.so", "a b", " ", ";", "}", "{", "#", "a#b", '"',
    "'", "\\", '\\"', "a\\ b", "x; } } load_module evil.so; #", '" ; } #',
    '\\" ; } #', "\\\\", "\\n", "a\\", "unix:/x\"y", "#if one", "#end",
    "ä", "*~%@!()[]<>|&?=,", "a" * 2000, "\\" * 1000,
]

REFUSED = ["$", "$host", "${mesh_module}", "a\nb", "\t", "\x1b[2J"]


def render(work, word):
    return subprocess.run(
        [os.path.join(BUILD, "meshctl"), "render", "--namespace=a", "--pod=b",
         "--conf-dir=" + work, "--mesh-module=" + word],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def main(t):
    with tempfile.TemporaryDirectory(dir="/tmp") as work:
        with open(f"{work}/nginx.conf.tmpl", "w", encoding="utf-8") as out:
            out.write(TEMPLATE.replace("DIR", work))

        for word in WORDS:
            done = render(work, word)
            with open(f"{work}/nginx.conf", "wb") as out:
                out.write(done.stdout)
            nginx = subprocess.Popen([NGINX, "-e", "stderr", "-p", work, "-c",
                                      f"{work}/nginx.conf"])
            until(lambda: get(4143)[0] or nginx.poll() is not None)
            t.equal(get(4143)[1], word, f"{word[:30]!r} is a word")
            nginx.kill()
            nginx.wait()

        for word in REFUSED:
            done = render(work, word)
            t.equal((done.returncode, done.stdout), (1, b""),
                    f"{word[:30]!r} is refused")
            t.has(done.stderr.decode(), "nginx.conf.tmpl:15: value of",
                  "with the template's line")


sys.exit(Tap().run([main]))
