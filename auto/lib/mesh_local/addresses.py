"""Who gets which address: pods and ClusterIPs, v4 and v6, never twice."""

import ipaddress

POD_NETS = ("10.244.0.0/16", "fd00:244::/64")
VIP_NETS = ("10.96.0.0/16", "fd00:96::/112")
GATEWAYS = ("10.244.0.1", "fd00:244::1")

FIRST_POD = 2
FIRST_VIP = 10           # the ones below are given by manifests
LAST = 65000


class Exhausted(Exception):
    """Every address of the network is in use."""


class Allocator:
    """
    Hands out pairs with the same number in a v4 and a v6 network.  Goes round
    the network instead of reusing what was just freed: an old connection or a
    stale name must not meet a new owner.
    """

    def __init__(self, networks, first):
        self.networks = [ipaddress.ip_network(net) for net in networks]
        self.first = first
        self.next = first
        self.used = set()

    def take(self):
        for _ in range(LAST):
            number = self.next
            self.next = self.first if number >= LAST else number + 1
            pair = self.pair(number)
            if not self.used.intersection(pair):
                self.used.update(pair)
                return pair
        raise Exhausted(f"no address left in {self.networks[0]}")

    def pair(self, number):
        return [str(net.network_address + number) for net in self.networks]

    def claim(self, address):
        """Takes one given address; says what is wrong, or None."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return f'"{address}" is not an address'

        if not any(ip in net for net in self.networks
                   if net.version == ip.version):
            nets = ", ".join(str(net) for net in self.networks)
            return f"{address} is not in {nets}"

        if str(ip) in self.used:
            return f"{address} is in use"

        self.used.add(str(ip))
        return None

    def give_back(self, addresses):
        self.used.difference_update(addresses)


def pods():
    return Allocator(POD_NETS, FIRST_POD)


def vips():
    return Allocator(VIP_NETS, FIRST_VIP)


def family(address):
    return 6 if ":" in address else 4
