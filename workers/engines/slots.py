"""Which of a server's slots a call gets, and how long anybody waits for it. Used by `llamacpp`.

Left to itself a server may give the slot that has read a ticket to another ticket, between two questions. And nobody
can end a call inside llama.cpp, so each slot has a thread of its own, which can be left alone with a call.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from models.errors import EngineDown, EngineError

Said = TypeVar("Said")
HUNG = "llama.cpp is still busy with calls that did not answer in time: restart the worker if that lasts."


@dataclass(eq=False, slots=True)
class _Call(Generic[Said]):
    """What is asked of a slot; `late` when nobody waits for it any more."""

    make: Callable[[int], Said]
    end: Callable[[int], None]
    deadline: float
    late: bool = False
    said: "Future[Said]" = field(default_factory=Future)

    def left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


_Line = queue.SimpleQueue[_Call[Any] | None]


class Slots:
    """A thread gets the slot that it had last, which has read its ticket; or if that is taken, the longest idle."""

    def __init__(self, count: int):
        self._free = list(range(count))
        self._changed = threading.Condition()
        self._last = threading.local()
        self._made: dict[int, _Call[Any]] = {}
        self._lines: list[_Line] = [queue.SimpleQueue() for _ in range(count)]
        for slot in range(count):
            # Daemons: a call that never ends must not keep the worker from ending.
            given = (slot, self._lines[slot])
            threading.Thread(target=_serve, args=given, name=f"llama-slot-{slot}", daemon=True).start()

    def __del__(self) -> None:
        """Its threads do not know it, so they end with it."""
        for line in self._lines:
            line.put(None)

    def ask(self, make: Callable[[int], Said], seconds: float) -> tuple[Said, float]:
        """What `make` says, given a slot, and how many seconds that was waited for.

        Raises EngineError when it has not answered `seconds` after it was asked for, EngineDown when no slot was free.
        A slot is free again when its call has ended, whether or not anybody still waits for that.
        """
        asked = time.monotonic()
        call = _Call(make, self._end, asked + seconds)
        self._begin(call, self._last)
        waited = time.monotonic() - asked
        return self._wait(call), waited

    def every(self, make: Callable[[int], object], seconds: float) -> None:
        """The same in each slot, all at once, before anybody else asks."""
        calls = [_Call(make, self._end, time.monotonic() + seconds) for _ in self._lines]
        for call in calls:
            self._begin(call, threading.local())
        for call in calls:
            self._wait(call)

    def hung(self) -> str | None:
        """Why no slot can be waited for: each has a call that was given up."""
        made = list(self._made.values())
        return HUNG if len(made) == len(self._lines) and all(call.late for call in made) else None

    def _begin(self, call: _Call[Any], thread: threading.local) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._free or self.hung(), call.left())
            if not self._free:
                raise EngineDown(self.hung() or "No slot of llama.cpp became free in time.")
            last = getattr(thread, "slot", None)
            slot = last if last in self._free else self._free[0]
            self._free.remove(slot)
            self._made[slot] = call
        thread.slot = slot
        self._lines[slot].put(call)

    def _wait(self, call: _Call[Said]) -> Said:
        try:
            return call.said.result(call.left())
        except TimeoutError:
            with self._changed:
                call.late = True
                self._changed.notify_all()
            # Inside this process nothing is away: what hangs is this call, and counts against its ticket.
            raise EngineError("llama.cpp did not answer in time.") from None

    def _end(self, slot: int) -> None:
        with self._changed:
            del self._made[slot]
            self._free.append(slot)
            self._changed.notify()


def _serve(slot: int, line: _Line) -> None:
    while _next(slot, line):
        pass


def _next(slot: int, line: _Line) -> bool:
    """One call; nothing of it is kept while the next is waited for, or replaced weights would stay in memory."""
    call = line.get()
    if call is None:
        return False
    try:
        said, error = call.make(slot), None
    except BaseException as raised:
        said, error = None, raised
    call.end(slot)
    call.said.set_exception(error) if error is not None else call.said.set_result(said)
    return True
