"""An engine that knows its answer and takes a given time for it: instant, or like a language model on a GPU.

Used by worker.py and tutorial.py. It reads no prompt, so what is measured around it is everything but the llm.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence

from models.llm.card import Card
from workers.engines.base import Scores, Timings

SURE = 0.9


class Timed:
    """Answers after `call_s` seconds that its first code is the likeliest; up to `parallel` calls run at once."""

    kind = "timed"
    shows: int | None = None
    version = "1"

    def __init__(self, call_s: float = 0.0, parallel: int = 4):
        self.parallel = parallel
        self.call_s = call_s
        self.slots = threading.Semaphore(parallel)

    def vocabulary(self, card: Card) -> Callable[[str], bool]:
        return lambda text: True

    def load(self, card: Card) -> Card:
        return card

    def count(self, llm: str, text: str) -> None:
        """It reads nothing."""

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        """The same scores for every prompt."""
        asked = time.perf_counter()
        with self.slots:
            waited = time.perf_counter() - asked
            if self.call_s:
                time.sleep(self.call_s)
        call = time.perf_counter() - asked
        timings = Timings(call_ms=call * 1e3, slot_ms=waited * 1e3, load_ms=0.0, decode_ms=(call - waited) * 1e3)
        return Scores(_scores(codes), complete=True, timings=timings)

    def open_breaker(self, llm: str) -> None:
        """It never fails."""

    def close(self) -> None:
        """There is nothing to give back."""


def _scores(codes: Sequence[str]) -> dict[str, float]:
    rest = math.log((1 - SURE) / max(1, len(codes) - 1))
    return dict.fromkeys(codes, rest) | {codes[0]: math.log(SURE)}
