"""Prometheus text as numbers: series, sums over labels, quantiles."""

import re

_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Samples:
    """What one scrape of one pod said: (name, labels) -> value."""

    def __init__(self, pairs):
        self.pairs = pairs

    def find(self, name, **labels):
        """(labels, value) of the series that have these labels."""
        for (found, items), value in self.pairs.items():
            if found != name:
                continue
            have = dict(items)
            if all(have.get(key) == value_of
                   for key, value_of in labels.items()):
                yield have, value

    def sum(self, name, **labels):
        return sum(value for _, value in self.find(name, **labels))

    def since(self, older):
        """The difference to an older scrape of the same pod."""
        return Samples({key: value - older.pairs.get(key, 0)
                        for key, value in self.pairs.items()})


def parse(text):
    pairs = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f"not Prometheus text: {line!r}")
        name, labels, value = match.groups()
        items = tuple(sorted((key, _unescape(word))
                             for key, word in _LABEL.findall(labels or "")))
        pairs[(name, items)] = float(value)
    return Samples(pairs)


def _unescape(word):
    return re.sub(r"\\.", lambda m: _ESCAPES.get(m.group(0), m.group(0)),
                  word)


def quantile(buckets, share):
    """
    As Prometheus' histogram_quantile: buckets maps upper bound (a float) to
    cumulative count.  None without observations.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if total <= 0:
        return None

    rank = share * total
    below_bound = below = 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank:
            if bound == float("inf"):
                return below_bound
            inside = count - below
            part = (rank - below) / inside if inside else 1.0
            return below_bound + (bound - below_bound) * part
        below_bound, below = bound, count
    return below_bound
