"""A comparison ticket by ticket: both sides are asked about the same ticket, and take turns at being the first.

Used by asking.py.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.ratios import Round, Window

RATE, TIME = "answers/s", "ms"


@dataclass(frozen=True, slots=True)
class Call:
    """One call: how long it took, and how many of its prompt's tokens were read now and found read."""

    ms: float
    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Side:
    """What a side is called, and what else is to be said of it."""

    name: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pairs:
    """`ask` makes both calls about the ticket of that number, and gives that of the first and of the second side.

    Which of them is made first, or which question is whose, it decides by the number: even and odd differ.
    """

    name: str
    sides: tuple[Side, Side]
    unit: str
    ask: Callable[[int], tuple[Call, Call]]
    seconds: float

    def round(self) -> Round:
        """As long as two windows; the even tickets are A-B of it, the odd ones B-A."""
        load, end = os.getloadavg()[0], time.perf_counter() + 2 * self.seconds
        pairs: list[tuple[Call, Call]] = []
        while len(pairs) < 2 or time.perf_counter() < end:
            pairs.append(self.ask(len(pairs)))
        (even_a, even_b), (odd_a, odd_b) = (tuple(zip(*pairs[order::2], strict=True)) for order in (0, 1))
        a, b = self.sides
        return Round(
            self.name, (self._of(a, even_a), self._of(b, even_b), self._of(b, odd_b), self._of(a, odd_a)), load
        )

    def _of(self, side: Side, calls: Sequence[Call]) -> Window:
        """The median call, because one that the machine has kept waiting says nothing about the others."""
        ms = median(call.ms for call in calls)
        counted = {
            "calls": len(calls),
            "prompt_tokens": median(call.prompt_tokens for call in calls),
            "cached_tokens": median(call.cached_tokens for call in calls),
        }
        return Window(side.name, 1e3 / ms if self.unit == RATE else ms, self.unit, side.facts | counted)
