"""When an llm that somebody has to mend first is loaded again: ever more seldom, as each trial may cost money.

Used by `llm` and `suspicion`.
"""

import time
from dataclasses import dataclass

from models.llm.card import Card

FIRST_S, LONGEST_S = 2.0, 600.0


@dataclass(slots=True)
class Backoff:
    """One llm's. Each failure with the same card doubles the pause; another card is tried at once."""

    card: Card | None = None
    error: str = ""
    pause_s: float = 0.0
    not_before: float = 0.0

    def failed(self, card: Card, error: str) -> None:
        """This card cannot be loaded until something is mended."""
        self.pause_s = min(LONGEST_S, 2 * self.pause_s) if card == self.card else FIRST_S
        self.card, self.error, self.not_before = card, error, time.monotonic() + self.pause_s

    def waits(self, card: Card) -> str | None:
        """What was wrong with this card, while the pause lasts."""
        return self.error if card == self.card and time.monotonic() < self.not_before else None
