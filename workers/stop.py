"""A worker's stop: no further claim, and FINISH_S for what is in its hands. Used by drain and settle."""

import threading
import time

from models.errors import TriageError

FINISH_S = 10.0


class Stopped(TriageError):
    """The ticket was not begun, or not finished in time: the worker is stopping, or the ticket is no longer ours."""


class Stop(threading.Event):
    """Set when the worker is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.deadline: float | None = None

    def late(self) -> bool:
        """Whether it is set, and FINISH_S are over since this was asked first after that."""
        if not self.is_set():
            return False
        self.deadline = self.deadline or time.monotonic() + FINISH_S
        return time.monotonic() > self.deadline
