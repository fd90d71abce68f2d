"""
The table: one line a measure, one column a contender.  What was not measured
says so, and why is told below.
"""

import json
import statistics

SIDES = ("out", "in")


def cell(value, digits=1):
    if value is None:
        return "NOT MEASURED"
    if isinstance(value, str):
        return value
    return f"{value:,.{digits}f}"


def spread(samples, digits=1):
    """Minimum and median."""
    if not samples:
        return None
    return (f"{min(samples):.{digits}f} / "
            f"{statistics.median(samples):.{digits}f}")


def of_side(result, key, side):
    return (result.get(key) or {}).get(side)


def rate(us):
    return None if us is None else 1e6 / us


def memory_of(result, side, n):
    found = of_side(result, "memory", side)
    return None if found is None else found["mb"].get(str(n))


def pair_of(result, side):
    found = of_side(result, "memory", side)
    return None if found is None else found["pair_kb"]


def rounds_of(result, key, side=None):
    rounds = result.get("rounds") or []
    return [r[key] if side is None else r[key][side] for r in rounds]


def grpc_of(result, shape):
    turns = (result.get("grpc") or {}).get(shape)
    if not turns:
        return cell(None)
    us = [min(turn["cpu_us"].get(side, 0) for turn in turns)
          for side in SIDES]
    errors = sum(turn["errors"] for turn in turns)
    return f"{us[0]:.1f} + {us[1]:.1f}; {errors}"


def rows():
    """(what, unit, result -> text)"""
    table = []

    def both(what, unit, value):
        for side in SIDES:
            table.append((f"{what}, {side}", unit,
                          lambda r, side=side: cell(value(r, side))))

    both("CPU a request", "us, min / median",
         lambda r, s: spread(rounds_of(r, "cpu_us", s)))
    both("user instructions", "a request",
         lambda r, s: of_side(r, "instructions", s))
    both("system calls", "a request, 1 connection",
         lambda r, s: of_side(r, "syscalls", s))

    table += [
        ("p50 added", "us, fixed rate, median",
         lambda r: cell(median(rounds_of(r, "added_p50_us")))),
        ("requests/s over direct", "median",
         lambda r: cell(median(rounds_of(r, "over_direct")), 3)),
    ]

    both("new mTLS connections", "/s of CPU",
         lambda r, s: rate(of_side(r, "handshakes", s)))

    for n, what in ((0, "idle"), (100, "100 in flight"),
                    (1000, "1,000 in flight")):
        both(f"memory, {what}", "MB",
             lambda r, s, n=n: memory_of(r, s, n))

    both("one more in flight", "KB", pair_of)

    for shape in "1x1", "16x1", "4x16":
        table.append((f"gRPC {shape}, connections x streams",
                      "us CPU out + in, least; errors",
                      lambda r, shape=shape: grpc_of(r, shape)))

    return table


def median(samples):
    return statistics.median(samples) if samples else None


def text(results):
    """results: name -> result, in the order of the columns."""
    body = []

    for what, unit, value in rows():
        body.append([what, unit] + [
            "-" if name == "direct" and value_is_of_sidecar(what)
            else value(result) for name, result in results.items()])

    lines = [["", "", *results], *body]
    widths = [max(len(line[i]) for line in lines)
              for i in range(len(lines[0]))]

    return "\n".join("  ".join(
        [word.ljust(width) for word, width in zip(line[:2], widths)]
        + [word.rjust(width) for word, width in zip(line[2:], widths[2:])]
    ).rstrip() for line in lines)


def value_is_of_sidecar(what):
    return what != "requests/s over direct"


def write_json(path, document):
    with open(path, "w", encoding="ascii") as out:
        json.dump(document, out, indent=1)
        out.write("\n")
