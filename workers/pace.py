"""How many tickets a claim takes: what keeps the engine busy for a moment, as fast as it was lately. For drain."""

import time
from collections.abc import Callable

BATCH_S = 0.5  # a ticket waits at most for the batches before its own: a fraction of a lease
MOST = 256
FIRST = 4  # batches of that many for each slot, until something was measured
SHARE = 0.5  # of the newest measurement in the mean


class Pace:
    """Tickets a second, as an exponential mean over settled batches."""

    def __init__(self, parallel: int, clock: Callable[[], float] = time.monotonic):
        self.parallel = parallel
        self.clock = clock
        self.rate: float | None = None
        self.began = clock()

    @property
    def size(self) -> int:
        """Of the next batch: at least one ticket for each slot."""
        wanted = self.parallel * FIRST if self.rate is None else round(self.rate * BATCH_S)
        return max(self.parallel, min(MOST, wanted))

    def start(self) -> None:
        """Work begins after a pause, which counts for nothing."""
        self.began = self.clock()

    def settled(self, tickets: int) -> None:
        """A batch was settled; batches overlap, so its time is that since the one before.

        `tickets` are those that an llm was asked about: what is done without one says nothing of its speed.
        """
        now, since = self.clock(), self.began
        self.began = now
        if tickets:
            rate = tickets / max(now - since, 1e-6)
            # A small batch behind a large one seems to take no time, so one measurement at most doubles the mean.
            self.rate = rate if self.rate is None else min(2 * self.rate, self.rate + SHARE * (rate - self.rate))
