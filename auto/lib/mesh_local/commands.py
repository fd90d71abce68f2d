"""The commands of auto/local, one table."""

import argparse
import json
import os
import shutil
import signal
import sys
import time

from . import client
from . import image
from . import layout as layouts
from . import linux
from . import manifests
from . import processes
from . import supervisor

UP_TIMEOUT = 120.0         # s until every pod must be ready
ANSWER_TIMEOUT = 10.0      # s until the supervisor must answer

DOWN_GRACE = supervisor.DOWN_GRACE


def say(text):
    print(text, flush=True)


def note(text):
    print(text, file=sys.stderr, flush=True)


# up and down

def up(args):
    """start a cluster and apply DIR..."""
    cluster = client.Cluster()
    layout = cluster.layout
    given = load(args.dir)
    control = []

    if not args.plain:
        absent = image.missing(layout.tree)
        if absent:
            raise client.Failed(f"{absent[0]} is not there: run auto/build")
        control = manifests.load_path(
            os.path.join(layout.tree, "conf", "local"))
        control, given = merge(control, given)

    if os.geteuid() != 0:
        raise client.Failed("must be root: it makes namespaces")

    owner = os.pidfd_open(args.owner) if args.owner else None
    lock = cluster.claim()
    make_directories(layout)

    settings = {"inject": not args.plain, "workers": args.workers,
                "env": args.sidecar_env, "trust_domain": "cluster.local",
                "image_files": args.image_file}

    try:
        pid = supervisor.spawn(layout, settings, owner)
        os.close(lock)                    # the supervisor has its own
        with open(layout.state, "w", encoding="ascii") as stream:
            json.dump({"pid": pid, "tree": layout.tree}, stream)

        wait_for_answer(cluster)
        text = cluster.call("up", say, control=control, objects=given,
                            timeout=args.timeout)
        say(text)

    except BaseException as error:
        if args.keep and isinstance(error, client.Failed):
            raise
        cluster.kill()
        clean(layout, keep_logs=True)
        if isinstance(error, client.Failed):
            raise client.Failed(f"{error}\nlogs are kept in "
                                f"{layout.root}") from None
        raise

    return 0


def merge(control, given):
    """An object of the control plane that is also given is the given one."""
    mine = {manifests.key(obj): obj for obj in given}
    control = [mine.pop(manifests.key(obj), obj) for obj in control]
    return control, [obj for obj in given if manifests.key(obj) in mine]


def load(paths):
    found = []
    for path in paths:
        found.extend(manifests.load_path(path))
    return found


def make_directories(layout):
    clean(layout, keep_logs=False)
    for path in (layout.objects, layout.spool, layout.logs, layout.node,
                 layout.mnt, os.path.dirname(layout.tokens)):
        os.mkdir(path, 0o755)
    os.symlink("../objects", os.path.join(layout.node, "objects"))


def wait_for_answer(cluster):
    end = time.monotonic() + ANSWER_TIMEOUT
    while not os.path.exists(cluster.layout.socket):
        if cluster.pid() is None or time.monotonic() > end:
            with open(cluster.layout.log, encoding="utf-8") as log:
                raise client.Failed("the supervisor did not start:\n"
                                    + log.read()[-4000:])
        time.sleep(0.02)


def clean(layout, keep_logs):
    """Removes what a cluster left in its directory."""
    kept = {layout.logs, layout.log, layout.events} if keep_logs else set()

    for name in os.listdir(layout.root):
        path = os.path.join(layout.root, name)
        if path in kept:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def down(args):
    """end the cluster and remove everything of it"""
    cluster = client.Cluster()
    pid = cluster.pid()

    if pid is not None:
        if not args.now:
            try:
                cluster.call("down", grace=DOWN_GRACE)
                wait_for_end(pid, 2 * DOWN_GRACE)
            except client.Failed as error:
                note(f"auto/local: {error}")
        cluster.kill()

    if os.path.isdir(cluster.layout.root):
        clean(cluster.layout, keep_logs=args.keep_logs)
        if not args.keep_logs:
            os.rmdir(cluster.layout.root)
    return 0


def wait_for_end(pid, seconds):
    end = time.monotonic() + seconds
    while processes.alive(pid) and time.monotonic() < end:
        time.sleep(0.02)


# objects

def apply(args):
    """add or change the objects of FILE"""
    if args.file == "-":
        given = manifests.load_text(sys.stdin.read(), "-")
    else:
        given = manifests.load_path(args.file)
    client.Cluster().call("apply", say, objects=given,
                          wait=args.wait and args.timeout)
    return 0


def delete(args):
    """delete the objects of FILE, or KIND NS/NAME"""
    if len(args.what) == 2:
        kind = args.what[0]
        namespace, _, name = args.what[1].rpartition("/")
        keys = [(kind, namespace, name)]
    else:
        keys = [manifests.key(obj) for obj in
                reversed(manifests.load_path(args.what[0]))]
    client.Cluster().call("delete", say, keys=keys,
                          wait=args.wait and args.timeout)
    return 0


def scale(args):
    """set the replicas of a Deployment or StatefulSet"""
    namespace, name = pair(args.name)
    client.Cluster().call("scale", namespace=namespace, name=name,
                          replicas=args.replicas)
    return 0


def wait(args):
    """wait until every pod is as it should be"""
    client.Cluster().call("wait", timeout=args.timeout)
    return 0


# pods

def pair(word):
    found = layouts.split_pod(word)
    if found is None:
        raise client.Failed(f'"{word}" is not NAMESPACE/NAME')
    return found


def exec_(args):
    """run CMD in a container of a pod"""
    namespace, pod = pair(args.pod)
    argv = client.Cluster().container_argv(namespace, pod, args.container,
                                           args.command, args.user)
    os.execv(argv[0], argv)


def node(args):
    """run CMD in the node's network, where the bridge cni0 is"""
    command = args.command[args.command[:1] == ["--"]:]
    argv = client.Cluster().node_argv(command or ["/bin/sh"])
    os.execv(argv[0], argv)


def restart(args):
    """end the containers of a pod; they start again in the same pod"""
    namespace, pod = pair(args.pod)
    cluster = client.Cluster()
    cluster.call("restart", namespace=namespace, pod=pod,
                 container=args.container, grace=args.grace)
    if args.wait:
        cluster.call("wait", timeout=args.timeout)
    return 0


def signal_(args):
    """send a signal to a container's first process"""
    namespace, pod = pair(args.pod)
    name = args.signal.upper().removeprefix("SIG")
    number = int(name) if name.isdigit() else signal.Signals["SIG" + name]
    client.Cluster().call("signal", namespace=namespace, pod=pod,
                          container=args.container, number=int(number))
    return 0


def logs(args):
    """print what a container wrote"""
    namespace, pod = pair(args.pod)
    status = client.Cluster().call("status")
    found = [p for p in status["pods"]
             if (p["namespace"], p["name"]) == (namespace, pod)]
    if not found:
        raise client.Failed(f"no pod {namespace}/{pod}")

    wanted = [c for c in found[0]["containers"]
              if c["name"] == args.container
              or (args.container is None and c["kind"] == "app")]
    if not wanted:
        raise client.Failed(f'no container "{args.container}" in '
                            f"{namespace}/{pod}")

    argv = ["/usr/bin/tail", "-n", "+1"] + (["-F"] if args.follow else [])
    os.execv(argv[0], argv + [wanted[0]["log"]])


# looking

def status(args):
    """show pods and services"""
    cluster = client.Cluster()
    found = cluster.call("status")

    if args.json:
        pids = linux.outer_pids(cluster.must_run())
        for pod in found["pods"]:
            for container in pod["containers"]:
                container["pid"] = pids.get(container["pid"])
        found["supervisor"] = cluster.pid()
        say(json.dumps(found, indent=1))
        return 0

    rows = [("NAMESPACE", "POD", "READY", "STATUS", "RESTARTS", "MESHED",
             "ADDRESSES")]
    for pod in found["pods"]:
        main = [c for c in pod["containers"] if c["kind"] != "init"]
        ready = sum(c["ready"] for c in main)
        rows.append((pod["namespace"], pod["name"],
                     f"{ready}/{len(main)}", pod["text"],
                     str(sum(c["restarts"] for c in main)),
                     "yes" if pod["meshed"] else "no",
                     " ".join(pod["ips"])))
    table(rows)

    rows = [("NAMESPACE", "SERVICE", "PORT", "ENDPOINTS", "ADDRESSES")]
    for service in found["services"]:
        for port in service["ports"]:
            rows.append((service["namespace"], service["name"],
                         str(port["port"]), str(port["ready"]),
                         " ".join(service["ips"]) or "headless"))
    say("")
    table(rows)
    return 0


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width)
                      for cell, width in zip(row, widths)).rstrip())


def pod_options(parser):
    parser.add_argument("pod", metavar="NS/POD")
    parser.add_argument("-c", "--container", metavar="NAME",
                        help='default: the first app; the sidecar is '
                             '"ngx-mesh"')


def up_options(parser):
    parser.add_argument("dir", nargs="*", metavar="DIR",
                        help="manifests: directories or files")
    parser.add_argument("--plain", action="store_true",
                        help="without a control plane and sidecars")
    parser.add_argument("--timeout", type=float, default=UP_TIMEOUT,
                        metavar="SECONDS")
    parser.add_argument("--workers", type=int, metavar="N",
                        default=int(os.environ.get("MESH_LOCAL_WORKERS", 1)),
                        help="nginx workers of each sidecar")
    parser.add_argument("--sidecar-env", action="append", default=[],
                        metavar="NAME=VALUE",
                        help="a variable for every sidecar (tests)")
    parser.add_argument("--image-file", action="append", default=[],
                        metavar="SOURCE:PLACE",
                        help="one more file in the containers' image")
    parser.add_argument("--for", type=int, dest="owner", metavar="PID",
                        help="go down when that process ends")
    parser.add_argument("--keep", action="store_true",
                        help="leave the cluster up when it is not ready")


def apply_options(parser):
    parser.add_argument("file", metavar="FILE")
    wait_option(parser)


def delete_options(parser):
    parser.add_argument("what", nargs="+", metavar="FILE | KIND NS/NAME")
    wait_option(parser)


def wait_option(parser):
    parser.add_argument("--wait", action="store_true",
                        help="until every pod is ready")
    parser.add_argument("--timeout", type=float, default=60.0,
                        metavar="SECONDS", help="of --wait")


def scale_options(parser):
    parser.add_argument("name", metavar="NS/NAME")
    parser.add_argument("replicas", type=int, metavar="N")


def exec_options(parser):
    pod_options(parser)
    parser.add_argument("-u", "--user", type=int, metavar="UID",
                        help="as another user; 0 keeps all capabilities")
    parser.add_argument("command", nargs="+", metavar="CMD")


def restart_options(parser):
    pod_options(parser)
    parser.add_argument("--grace", type=float, default=30.0,
                        metavar="SECONDS", help="between TERM and KILL")
    wait_option(parser)


def signal_options(parser):
    parser.add_argument("signal", metavar="SIGNAL")
    pod_options(parser)


def logs_options(parser):
    pod_options(parser)
    parser.add_argument("-f", "--follow", action="store_true")


COMMANDS = {
    "up": (up, up_options),
    "apply": (apply, apply_options),
    "delete": (delete, delete_options),
    "scale": (scale, scale_options),
    "wait": (wait, lambda parser: parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS")),
    "exec": (exec_, exec_options),
    "node": (node, lambda parser: parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="CMD")),
    "restart": (restart, restart_options),
    "signal": (signal_, signal_options),
    "logs": (logs, logs_options),
    "status": (status, lambda parser: parser.add_argument(
        "--json", action="store_true")),
    "down": (down, lambda parser: (
        parser.add_argument("--now", action="store_true",
                            help="without a TERM for anybody"),
        parser.add_argument("--keep-logs", action="store_true"))),
}


def main(argv):
    parser = argparse.ArgumentParser(
        prog="auto/local", description="One machine as a cluster: pods are "
        "network namespaces, containers are processes.",
        epilog="MESH_LOCAL_DIR: the cluster's directory, default "
        + layouts.DEFAULT_DIR)
    sub = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    for name, (call, options) in COMMANDS.items():
        one = sub.add_parser(name, help=call.__doc__, description=call.__doc__)
        options(one)

    parsed = parser.parse_args(argv)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)      # "| head" is fine

    try:
        return COMMANDS[parsed.verb][0](parsed)
    except (client.Failed, manifests.Bad, OSError) as error:
        note(f"auto/local: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
