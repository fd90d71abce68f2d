"""
The node's network, which is the supervisor's own network namespace: a bridge,
forwarding, and for each pod a namespace that hangs on the bridge.
"""

import os
import subprocess

from . import addresses
from . import linux

BRIDGE = "cni0"

NODE_SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/all/accept_dad": "0",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
}

POD_SETTINGS = {
    "net/ipv4/ip_unprivileged_port_start": "0",   # as containerd does
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/all/accept_dad": "0",
}


class NetworkError(Exception):
    """ip or nft said no."""


def run(argv, text=None):
    result = subprocess.run(argv, input=text, capture_output=True, text=True,
                            check=False)
    if result.returncode != 0:
        raise NetworkError(f"{' '.join(argv[:3])}: {result.stderr.strip()}")
    return result.stdout


def setup_node():
    """Called once, in a new network namespace."""
    if not os.path.exists("/proc/sys/net/bridge"):
        subprocess.run(["modprobe", "br_netfilter"], check=False,
                       capture_output=True)

    run(["ip", "-batch", "-"], "\n".join([
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"addr add {addresses.GATEWAYS[0]}/16 dev {BRIDGE}",
        f"addr add {addresses.GATEWAYS[1]}/64 dev {BRIDGE} nodad",
        f"link set {BRIDGE} up",
    ]) + "\n")

    write_settings(NODE_SETTINGS)


def write_settings(settings):
    for name, value in settings.items():
        try:
            with open(f"/proc/sys/{name}", "w", encoding="ascii") as stream:
                stream.write(value)
        except OSError as error:
            raise NetworkError(f"/proc/sys/{name}: {error.strerror}; is the "
                               "kernel module there?") from None


def add_pod(net, link, ips):
    """
    Makes the namespace at the path net with eth0 on the bridge; link names
    the bridge's end.
    """
    _make_namespace(net)

    run(["ip", "-batch", "-"], "\n".join([
        f"link add {link} type veth peer name eth0 netns {net}",
        f"link set {link} master {BRIDGE}",
        f"link set {link} type bridge_slave hairpin on",
        f"link set {link} up",
    ]) + "\n")

    run(["nsenter", f"--net={net}", "ip", "-batch", "-"], "\n".join([
        "link set lo up",
        f"addr add {ips[0]}/16 dev eth0",
        f"addr add {ips[1]}/64 dev eth0 nodad",
        "link set eth0 up",
        f"route add default via {addresses.GATEWAYS[0]}",
        f"route add default via {addresses.GATEWAYS[1]}",
    ]) + "\n")


def delete_pod(net, link):
    """The namespace goes with its last process; the veth goes at once."""
    subprocess.run(["ip", "link", "del", link], check=False,
                   capture_output=True)
    if os.path.exists(net):
        linux.umount(net)
        os.unlink(net)


def _make_namespace(net):
    with open(net, "w", encoding="ascii"):
        pass

    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            linux.unshare(linux.CLONE_NEWNET)
            write_settings(POD_SETTINGS)
            linux.bind("/proc/self/ns/net", net)
            code = 0
        except (OSError, NetworkError) as error:
            os.write(2, f"{net}: {error}\n".encode())
        finally:
            os._exit(code)

    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise NetworkError(f"cannot make a network namespace at {net}")
