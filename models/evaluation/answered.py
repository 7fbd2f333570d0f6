"""What one llm or policy said of the labelled tickets of one field, as columns. Made by the command line."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

OUTSIDE = -1
"""The truth of a ticket that belongs to no label of the field."""


@dataclass(frozen=True)
class Answered:
    """One row a ticket. `scores` are [rows, labels], `truth` the index of the right label, or OUTSIDE.

    `scope` is larger the surer the llm is that some label fits; `ms` is the time its answer took. Where an answer is a
    label and nothing else, `scored` is false: the scores say which label, and not how sure.
    """

    labels: tuple[str, ...]
    scores: np.ndarray
    truth: np.ndarray
    scope: np.ndarray
    automated: np.ndarray
    ms: np.ndarray
    scored: bool = True

    @cached_property
    def said(self) -> np.ndarray:
        said: np.ndarray = self.scores.argmax(axis=1)
        return said

    @cached_property
    def confidence(self) -> np.ndarray:
        confidence: np.ndarray = self.scores.max(axis=1)
        return confidence

    @cached_property
    def right(self) -> np.ndarray:
        """Never true of a ticket outside: no label is right there."""
        right: np.ndarray = self.said == self.truth
        return right

    def only(self, rows: np.ndarray) -> "Answered":
        """The same of some rows."""
        columns = ("scores", "truth", "scope", "automated", "ms")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def inside(self) -> "Answered":
        """Without the rows that belong to no label."""
        return self.only(self.truth != OUTSIDE)
