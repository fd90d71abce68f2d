#!/usr/bin/python3 -B

"""
What is stored may be lost, forged or damaged: Redis wiped, a second writer,
forged documents, broken state files.  Nothing bad is taken, no request fails,
and all heals within ten seconds.  Sidecars have two workers here.
"""

import base64
import json
import os
import signal
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "lib"))

import yaml

import meshtap
import meshzoo

HEAL = 10.0                               # s
STATE = "/run/mesh/state"
HEAD_LAYOUT, HEAD_CRC = 8, 32             # offsets in mesh_state_head_t

REPLACE = """
import os, sys
with open("/run/mesh/state.t", "wb") as out:
    out.write(bytes.fromhex(sys.stdin.read()))
os.rename("/run/mesh/state.t", "/run/mesh/state")
"""

zoo = meshzoo.Zoo()


# Redis, as its writer sees it

class Redis:
    def __init__(self):
        code, text = zoo.exec(
            zoo.pod("ngx-mesh/mesh-watch"), "/bin/cat",
            "/var/run/ngx-mesh/redis/password", container="watch")
        if code:
            raise OSError(text)
        self.password = text.strip()

    def __call__(self, *words, text=None):
        code, out = zoo.exec(
            zoo.pod("ngx-mesh/mesh-redis"), "/usr/bin/redis-cli", "--user",
            "watch", "--pass", self.password, "--no-auth-warning", *words,
            container="redis", text=text)
        if code or out.startswith(("ERR", "NOPERM", "NOSCRIPT")):
            raise OSError(out)
        return out.rstrip("\n")

    def publish(self, key, value, generation):
        """What a writer does, without its fence"""
        self("-x", "SET", key, text=value)
        self("HSET", "mesh:gens", key, str(generation))
        self("PUBLISH", "mesh:ch:" + key, str(generation))


def load():
    return zoo.load("zoo/client", "--http", "http://http.zoo/", "--rate",
                    "100", "--fresh", "5")


def none_failed(t, running, what):
    result = running.stop()
    t.ok(result["sent"] and not result["failed"],
         f"{what}: none of {result['sent']} requests failed",
         "\n".join(str(one) for one in result["failures"][:10]))


def changes_arrive(t, what):
    """a change of the cluster reaches the client's sidecar"""
    name = f"c{time.monotonic_ns()}"
    zoo.local("apply", "-", text=f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: zoo}}
spec: {{selector: {{app: http}}, ports: [{{port: 80, targetPort: http}}]}}
""")
    start = time.monotonic()
    arrived = meshtap.until(lambda: zoo.ask(
        "zoo/client", "http", f"{zoo.vip('zoo/' + name)}:80", "new")[0], HEAL)
    t.ok(arrived, f"{what}: a new service is reached within "
         f"{HEAL:g} s", f"{time.monotonic() - start:.1f} s")


def wiped(t):
    redis = Redis()
    running = load()
    time.sleep(0.5)
    count = redis("EVAL", "local k = redis.call('HKEYS', 'mesh:gens') "
                  "for _, name in ipairs({'epoch', 'signer', 'synced', "
                  "'gens'}) do k[#k + 1] = 'mesh:' .. name end "
                  "for i = 1, #k do redis.call('DEL', k[i]) end "
                  "return #k .. ' ' .. redis.call('DBSIZE')", "0")
    deleted, left = map(int, count.strip('"').split()[-2:])
    t.ok(deleted > 10 and left < 3, "Redis is wiped", count)

    healed = meshtap.until(
        lambda: redis("GET", "mesh:synced")
        and redis("GET", "mesh:svc:zoo/http"), HEAL)
    t.ok(healed, f"and filled again within {HEAL:g} s")
    changes_arrive(t, "wiped")
    none_failed(t, running, "wiped")


def second_writer(t):
    """another meshd watch takes over; ours is the one with the older epoch"""
    redis = Redis()
    running = load()
    before = int(redis("GET", "mesh:epoch"))

    args = [container["args"] for pod in zoo.names["ngx-mesh/mesh-watch"]
            for container in [spec_of(pod)] if container["name"] == "watch"]
    words = [word for word in args[0] if not word.startswith("--state-dir")]
    other = zoo.spawn("ngx-mesh/mesh-watch", "/usr/local/bin/meshd", "watch",
                      *words, "--state-dir=/tmp/second", container="watch",
                      stdout=open(os.path.join(zoo.work, "second"), "wb"),
                      stderr=-2)

    taken = meshtap.until(lambda: int(redis("GET", "mesh:epoch")) > before,
                          HEAL)
    t.ok(taken, "a second writer has a newer epoch")

    old = redis("EVAL", "return redis.call('GET', 'mesh:epoch')", "0")
    changes_arrive(t, "two writers")

    for pid in meshzoo.descendants(other.pid):
        if "meshd watch" in meshzoo.cmdline(pid):
            os.kill(pid, signal.SIGKILL)
    other.wait(timeout=10)
    t.ok(int(redis("GET", "mesh:epoch")) >= int(old), "epochs only grow")
    changes_arrive(t, "the second one gone")
    none_failed(t, running, "two writers")


def spec_of(pod):
    path = os.path.join(zoo.root, "objects",
                        f"pod_{pod['namespace']}_{pod['name']}.yaml")
    with open(path, encoding="utf-8") as stream:
        spec = yaml.safe_load(stream)["spec"]
    return [c for c in spec["containers"] if c["name"] == "watch"][0]


def forged(t):
    redis = Redis()
    running = load()
    stall = zoo.address("street/stall")

    for key in ("mesh:svc:zoo/http", f"mesh:vip:{zoo.vip('zoo/http')}:80"):
        value = redis("GET", key)
        head, body = value.split("\n", 1)
        magic, generation, signature = head.split(" ")
        newer = int(generation) + 1000
        lie = body

        if key.startswith("mesh:svc"):
            lie = json.loads(body)
            for port in lie["ports"]:
                for endpoint in port["endpoints"]:
                    endpoint.update(address=stall, meshed=False,
                                    workload="", identity="")
            lie = json.dumps(lie)
        else:
            lie = body.replace("zoo/http", "street/stall")

        for what, forgery in (
                ("with the old signature", f"{magic} {newer} {signature}\n"
                 f"{lie}"),
                ("with a signature of nobody", f"{magic} {newer} "
                 f"{base64.b64encode(os.urandom(64)).decode()}\n{lie}"),
                ("of an unknown layout", f"ngx-mesh/9 {newer} {signature}\n"
                 f"{lie}"),
                ("that is garbage", "\x01garbage"),
                ("that says: deleted", f"{magic} {newer} {signature}\nnull")):
            redis.publish(key, forgery, newer)
            time.sleep(0.3)
            stranger = zoo.app_log("street/stall")
            worked, out = zoo.ask("zoo/client", "http", "http.zoo:80",
                                  "not-for-strangers")
            t.ok(worked and "not-for-strangers" not in stranger
                 + zoo.app_log("street/stall"),
                 f"a forged {key.rsplit(':', 1)[0]} {what} is not taken",
                 out)

        healed = meshtap.until(
            lambda: redis("GET", key).split("\n", 1)[-1] == body, HEAL)
        t.ok(healed, f"and the true one is back within {HEAL:g} s",
             redis("GET", key))

    signer = redis("GET", "mesh:signer")
    fake = json.loads(signer)
    fake["key"] = base64.b64encode(os.urandom(32)).decode()
    redis("-x", "SET", "mesh:signer", text=json.dumps(fake))
    redis("PUBLISH", "mesh:ch:mesh:signer", fake["epoch"])
    healed = meshtap.until(
        lambda: json.loads(redis("GET", "mesh:signer"))["key"]
        != fake["key"], HEAL)
    t.ok(healed, f"a forged signer is replaced within {HEAL:g} s")
    changes_arrive(t, "forged")
    none_failed(t, running, "forged")


# the state file

def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def with_crc(data):
    data = bytearray(data)
    struct.pack_into("<I", data, HEAD_CRC, 0)
    struct.pack_into("<I", data, HEAD_CRC, crc32c(data))
    return bytes(data)


def read_state():
    code, text = zoo.exec(zoo.pod("zoo/client"), "/usr/bin/od", "-An",
                          "-v", "-tx1", STATE, container="ngx-mesh")
    return b"" if code else bytes.fromhex("".join(text.split()))


def write_state(data):
    code, out = zoo.exec(zoo.pod("zoo/client"), "/usr/bin/python3", "-c",
                         REPLACE, container="ngx-mesh", text=data.hex())
    if code:
        raise OSError(out)


def refused():
    return zoo.metrics("zoo/client").sum("mesh_state_refused_total")


def both_refuse(data):
    """Did both workers see it?  The agent may put a good one there first."""
    before = refused()
    write_state(data)
    return meshtap.until(lambda: refused() >= before + 2, 5)


def valid():
    code, _ = zoo.exec(zoo.pod("zoo/client"), "/usr/local/bin/meshctl",
                       "state", "dump", STATE, container="ngx-mesh")
    return code == 0


def broken_states(good):
    """what -> bytes"""
    for size in (0, 7, 100, len(good) // 2, len(good) - 1):
        yield f"cut to {size} bytes", good[:size]

    for layout in (0, 99):
        other = bytearray(good)
        struct.pack_into("<I", other, HEAD_LAYOUT, layout)
        yield f"of layout {layout}", with_crc(other)

    for at in range(0, len(good), 64):
        other = bytearray(good)
        other[at] ^= 1 << at // 64 % 8
        yield f"with a bit flipped at {at}", bytes(other)


def broken_state_files(t):
    good = read_state()
    if not t.ok(with_crc(good) == good, "the state file is understood",
                f"{len(good)} bytes"):
        return

    running = load()
    taken = []
    count = 0

    for what, data in broken_states(good):
        count += 1
        if not any(both_refuse(data) for _ in range(3)):
            taken.append(what)

    t.ok(not taken, f"each of {count} broken state files was refused",
         "\n".join(taken))
    t.ok(meshtap.until(valid, HEAL), f"a good one is back within {HEAL:g} s")
    changes_arrive(t, "broken state")
    none_failed(t, running, "broken state")


def broken_at_start(t):
    """a worker that starts on a broken file waits until it is healed"""
    write_state(read_state()[:200])
    old = zoo.pids("zoo/client", "nginx: worker process")
    os.kill(old[0], signal.SIGKILL)
    start = time.monotonic()
    served = meshtap.until(lambda: zoo.ask(
        "zoo/client", "http", "http.zoo:80", "again")[0], HEAL)
    t.ok(served, f"a worker that starts on a broken file serves within "
         f"{HEAL:g} s", f"{time.monotonic() - start:.1f} s")
    t.ok(meshtap.until(valid, HEAL), "and the file is whole again")


with zoo:
    tap = meshtap.Tap()
    zoo.start(tap, "--workers", "2")
    sys.exit(tap.run([wiped, second_writer, forged, broken_state_files,
                      broken_at_start]))
