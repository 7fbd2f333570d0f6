"""What fails at every try is told when it begins, once a minute, and when it is over. For the bell and the workers."""

import threading
import time
from collections.abc import Callable

AGAIN_S = 60.0


class Outage:
    """Of one thing that others try again and again, perhaps from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.told: float | None = None
        self.lock = threading.Lock()

    def lasts(self) -> bool:
        """It failed, perhaps again; whether that is to be told."""
        with self.lock:
            now = self.clock()
            if self.told is not None and now - self.told < AGAIN_S:
                return False
            self.told = now
            return True

    def over(self) -> bool:
        """It works; whether that is to be told, since it failed before."""
        with self.lock:
            failed, self.told = self.told is not None, None
            return failed
