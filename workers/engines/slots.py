"""Which of a server's slots a call gets. Used by `llamacpp`.

Left to itself a server may give the slot that has read a ticket to another ticket, between two questions.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    """A thread gets the slot that it had last, which has read its ticket; or if that is taken, the longest idle."""

    def __init__(self, count: int):
        self._free = list(range(count))
        self._changed = threading.Condition()
        self._last = threading.local()

    @contextmanager
    def one(self) -> Iterator[int]:
        """Waits for a slot and keeps it for as long as the block lasts."""
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            last = getattr(self._last, "slot", None)
            slot = last if last in self._free else self._free[0]
            self._free.remove(slot)
        self._last.slot = slot
        try:
            yield slot
        finally:
            with self._changed:
                self._free.append(slot)
                self._changed.notify()
