"""Runs a comparison in rounds A-B-B-A; a void round is run again, but not for ever. Called by bench.py."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from benchmarks.ratios import Measured, Round, Run, Window

TRIES = 2  # times the rounds wanted


class Rounds(Protocol):
    """Something that is measured again and again."""

    @property
    def name(self) -> str: ...

    def round(self) -> Measured: ...


@dataclass(frozen=True, slots=True)
class Absolute:
    """A figure's name, and how it is measured once."""

    name: str
    measure: Callable[[], Window]

    def round(self) -> Run:
        load = os.getloadavg()[0]
        return Run(self.name, self.measure(), load)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A ratio's name, and how one window of either side is measured."""

    name: str
    first: Callable[[], Window]
    second: Callable[[], Window]

    def round(self) -> Round:
        load = os.getloadavg()[0]
        return Round(self.name, (self.first(), self.second(), self.second(), self.first()), load)


def rounds(comparison: Rounds, wanted: int) -> Iterator[Measured]:
    """Rounds until `wanted` of them count, and all void ones on the way."""
    counted = 0
    for _ in range(TRIES * wanted):
        if counted == wanted:
            return
        found = comparison.round()
        counted += found.void is None
        yield found
