"""Counts as a tree of whole numbers, which add up in any order: of hours to days, of days to a report. Pure."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from service.experiments.rollups.rounding import number

Counts = dict[str, Any]
"""Each value is a whole number or again such a tree; what is not there is zero."""


def add(total: Counts, more: Counts) -> None:
    """Adds `more` to `total`, leaf by leaf: a report of a year has a million of them."""
    known = total.get
    for name, value in more.items():
        if type(value) is dict:
            add(total.setdefault(name, {}), value)
        else:
            total[name] = known(name, 0) + value


def merged(parts: Iterable[Counts]) -> Counts:
    """The sum of all parts, none of which is changed."""
    total: Counts = {}
    for part in parts:
        add(total, part)
    return total


def at(path: Iterable[str], value: Any) -> Counts:
    """The tree that has `value` at the end of `path` and nothing else."""
    for name in reversed(list(path)):
        value = {name: value}
    found: Counts = value
    return found


def leaves(tree: Counts, depth: int) -> Iterator[tuple[Any, ...]]:
    """What stands so many steps down, each with its path before it."""
    for name, value in tree.items():
        if depth == 1:
            yield name, value
        else:
            yield from ((name, *rest) for rest in leaves(value, depth - 1))


class Spread:
    """A histogram of rounded numbers, in order."""

    def __init__(self, rounded: Counts):
        ordered = sorted((number(key), n) for key, n in rounded.items() if n)
        self.values = [value for value, _ in ordered]
        self.up_to = list(accumulate(n for _, n in ordered))
        self.n = self.up_to[-1] if ordered else 0

    def quantile(self, q: float) -> float | None:
        """The q-quantile of the rounded numbers, interpolated as `models.metrics.quantile` does it."""
        if not self.n:
            return None
        place = q * (self.n - 1)
        below = math.floor(place)
        low, high = self._at(below), self._at(min(below + 1, self.n - 1))
        return low + (place - below) * (high - low)

    def _at(self, place: int) -> float:
        return self.values[bisect_left(self.up_to, place + 1)]


def surest(counted: Counts) -> Iterator[tuple[int, int, int, float]]:
    """The surest tenth of the judged answers, two tenths, ...: how many of how many, how many right, and from where.

    Each ends at the next rounded confidence, which all that it counts reach and no other does.
    """
    doubts: dict[float, list[int]] = {}
    for key, here in counted["n"].items():
        found = doubts.setdefault(number(key), [0, 0])
        found[:] = found[0] + here, found[1] + counted["right"][key]
    total, n, right, tenths = sum(here for here, _ in doubts.values()), 0, 0, 0
    for doubt, (here, correct) in sorted(doubts.items()):
        n, right = n + here, right + correct
        if 10 * n // total > tenths:
            tenths = 10 * n // total
            yield n, total, right, 1 - doubt
