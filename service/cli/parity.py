"""Two runs over the same tickets: do both llms say the same, and how far apart are their probabilities? Pure.

Used by llm verify, such as for the same weights in another quantisation or on another engine.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from models.errors import InvalidRequest
from service.cli.common import counted

AGREE, APART = 0.99, 0.03
"""For two runs to count as one llm: the least share of equal labels, and what the mean difference must stay below."""
FEWEST = 200

Answers = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Parity:
    """Over `n` tickets: how many have the same likeliest label, and |dp| over all labels of all of them."""

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
            f"|dp| at most {self.greatest:.4f}, {self.mean:.4f} in the mean"
        )
        few = "" if self.n >= FEWEST else f"; {FEWEST} tickets or more would say it better"
        return told + ("" if self.good else f": needed are {AGREE:.0%} and a mean below {APART}") + few


def compare(now: Answers, before: Answers, *, same: bool = True) -> Parity:
    """Raises InvalidRequest where both have no ticket in common."""
    common = [one for one in now if one in before and (same or not one.startswith("line "))]
    if not common:
        raise InvalidRequest("The reference is about other tickets: none of its ids is in --data.")
    apart = [
        abs(now[one].get(label, 0.0) - before[one].get(label, 0.0))
        for one in common
        for label in now[one].keys() | before[one].keys()
    ]
    agreed = sum(_best(now[one]) == _best(before[one]) for one in common)
    return Parity(len(common), agreed, max(apart), math.fsum(apart) / len(apart))


def _best(scores: Mapping[str, float]) -> str:
    return max(scores, key=scores.__getitem__)
