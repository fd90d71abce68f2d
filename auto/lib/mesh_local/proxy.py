"""
kube-proxy's part: ClusterIPs become DNAT rules of the node, random over the
ready endpoints, replaced in one transaction.
"""

from . import addresses
from . import network

TABLE = "inet mesh_local"


def ruleset(services):
    """The whole table as nft text; services: endpoints.Resolved."""
    entries = {4: [], 6: []}
    chains = {}
    hairpins = {4: set(), 6: set()}

    for service in services:
        for vip in service.vips:
            family = addresses.family(vip)
            for port in service.ports:
                found = service.of_port(port, family)
                if not found:
                    continue
                protocol = port["protocol"].lower()
                name = f"svc{len(entries[4]) + len(entries[6])}"
                entries[family].append(f"{vip} . {protocol} . {port['port']}"
                                       f" : goto {name}")
                _balance(chains, name, found, protocol)
                hairpins[family].update(ip for ip, _ in found)

    lines = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]

    for name, rules in chains.items():
        lines += [f"chain {name} {{"] + rules + ["}"]

    lines += ["chain services {"]
    for family, word in ((4, "ip"), (6, "ip6")):
        if entries[family]:
            lines.append(f"{word} daddr . meta l4proto . th dport vmap {{ "
                         + ", ".join(entries[family]) + " }")
    lines += ["}"]

    for hook in ("prerouting", "output"):
        lines += [f"chain nat_{hook} {{",
                  f"type nat hook {hook} priority -100",
                  "jump services", "}"]

    lines += _hairpin(hairpins) + _reject() + ["}"]
    return "\n".join(lines) + "\n"


def _balance(chains, name, found, protocol):
    """A chain that picks one of found at random, and one chain for each."""
    picks = []

    for number, (ip, port) in enumerate(found):
        chain = f"ep_{protocol}_{ip.replace('.', '_').replace(':', 'x')}" \
                f"_{port}"
        if addresses.family(ip) == 4:
            chains[chain] = [f"meta l4proto {protocol} dnat ip to "
                             f"{ip}:{port}"]
        else:
            chains[chain] = [f"meta l4proto {protocol} dnat ip6 to "
                             f"[{ip}]:{port}"]
        picks.append(f"{number} : goto {chain}")

    chains[name] = [f"numgen random mod {len(found)} vmap {{ "
                    + ", ".join(picks) + " }"]


def _hairpin(pairs):
    """A pod that reaches itself by its service must see another source."""
    lines = ["chain nat_postrouting {",
             "type nat hook postrouting priority 100"]
    for family, word in ((4, "ip"), (6, "ip6")):
        if pairs[family]:
            lines.append(f"{word} saddr . {word} daddr {{ "
                         + ", ".join(f"{ip} . {ip}"
                                     for ip in sorted(pairs[family]))
                         + " } masquerade")
    return lines + ["}"]


def _reject():
    """What is still a ClusterIP after DNAT has no endpoint."""
    vip4, vip6 = addresses.VIP_NETS
    lines = []
    for hook in ("prerouting", "output"):
        lines += [f"chain empty_{hook} {{",
                  f"type filter hook {hook} priority 0",
                  f"ip daddr {vip4} meta l4proto tcp reject with tcp reset",
                  f"ip6 daddr {vip6} meta l4proto tcp reject with tcp reset",
                  f"ip daddr {vip4} reject",
                  f"ip6 daddr {vip6} reject", "}"]
    return lines


def apply(services, last):
    """Applies if the text differs from last; returns the new text."""
    text = ruleset(services)
    if text != last:
        network.run(["nft", "-f", "-"], text)
    return text
