"""Two runs over the same tickets: do both llms say the same, and how far apart are their probabilities? Pure.

Used by llm verify, such as for the same weights in another quantisation or on another engine.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.errors import InvalidRequest
from service.cli.common import counted

AGREE, APART = 0.99, 0.03
"""For two runs to count as one llm: the least share of equal labels, and what the mean distance must stay below.

The distance is the total variation of two answers, half the sum of |dp|: 0 where they are equal and 1 where they have
no label in common, however many labels the field has. At 0.03, a label drawn by each differs in three of a hundred
tickets; of two labels, it is the difference of either.
"""
FEWEST = 200

Answers = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Parity:
    """Over `n` tickets: how many have the same likeliest label, and how far apart the answers to one are."""

    n: int
    agreed: int
    greatest: float
    mean: float

    @property
    def good(self) -> bool:
        return self.agreed >= AGREE * self.n and self.mean < APART

    def says(self) -> str:
        told = (
            f"the same label for {self.agreed:,} of {counted(self.n, 'ticket')} ({self.agreed / self.n:.1%}), "
            f"distance at most {self.greatest:.4f}, {self.mean:.4f} in the mean"
        )
        few = "" if self.n >= FEWEST else f"; {FEWEST} tickets or more would say it better"
        return told + ("" if self.good else f": needed are {AGREE:.0%} and a mean below {APART}") + few


def compare(now: Answers, before: Answers, *, same: bool = True) -> Parity:
    """Raises InvalidRequest where both have no ticket in common."""
    both = common(now, before, same=same)
    if not both:
        raise InvalidRequest("no ticket of the reference got a probability, so nothing can be compared")
    apart = [_distance(now[one], before[one]) for one in both]
    agreed = sum(_best(now[one]) == _best(before[one]) for one in both)
    return Parity(len(both), agreed, max(apart), math.fsum(apart) / len(apart))


def common(names: Iterable[str], before: Answers, *, same: bool) -> list[str]:
    """Those of the tickets that the reference has too; without an id, only where it is about the `same` file."""
    return [one for one in names if one in before and (same or not one.startswith("line "))]


def _distance(now: Mapping[str, float], before: Mapping[str, float]) -> float:
    """Their total variation."""
    return math.fsum(abs(now.get(label, 0.0) - before.get(label, 0.0)) for label in now.keys() | before.keys()) / 2


def _best(scores: Mapping[str, float]) -> str:
    return max(scores, key=scores.__getitem__)
