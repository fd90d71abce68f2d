"""What the API server gives a Service: ClusterIPs of both families."""

from . import addresses
from . import manifests


def give_addresses(service, old, vips):
    """
    Fills clusterIP and clusterIPs in; old is the Service's last version or
    None; vips: addresses.Allocator.  Raises manifests.Bad.
    """
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return

    spec.setdefault("type", "ClusterIP")
    if spec.get("clusterIP") == "None":
        spec["clusterIPs"] = ["None"]
        return

    had = ((old or {}).get("spec") or {}).get("clusterIPs") or []
    given = spec.get("clusterIPs") or \
        ([spec["clusterIP"]] if spec.get("clusterIP") else [])

    if had and had != ["None"] and (not given or given == had[:len(given)]):
        chosen = had
    elif given:
        vips.give_back(had)
        chosen = given
        for address in given:
            error = vips.claim(address)
            if error:
                raise manifests.Bad(f"{manifests.describe(service)}: {error}")
    else:
        chosen = vips.take()

    policy = spec.setdefault("ipFamilyPolicy", "PreferDualStack")
    if policy == "SingleStack" and not given:
        vips.give_back(chosen[1:])
        chosen = chosen[:1]

    spec["clusterIPs"] = list(chosen)
    spec["clusterIP"] = chosen[0]
    spec["ipFamilies"] = [f"IPv{addresses.family(ip)}" for ip in chosen]
