"""A batch's tickets on their way through the engine's slots. Used by drain and settle."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from uuid import UUID

from models.errors import TriageError
from workers.arms import Served
from workers.claim import Batch, Claimed

Outcome = Served | BaseException


class Scoring:
    """Each thread of the pool takes the next ticket that nobody has begun: a future for each would cost more than most
    of what is done with it.
    """

    def __init__(self, tickets: list[Claimed], score: Callable[[Claimed], Served]):
        self.tickets, self.score = tickets, score
        self.waiting = deque(tickets)
        self.dropped: set[UUID] = set()
        self.wanted = len(tickets)
        self.outcomes: dict[UUID, Outcome] = {}
        self.over = threading.Event()
        self.since = time.monotonic()

    def start(self, pool: ThreadPoolExecutor, threads: int) -> None:
        """Behind what the pool has in hand."""
        for _ in range(min(threads, len(self.tickets))):
            pool.submit(self._work)

    def stop(self) -> None:
        """What nobody has begun is not begun any more, nor waited for."""
        while (ticket := self._next()) is not None:
            self.dropped.add(ticket.id)
            self.wanted -= 1
        self._look()

    def in_hand(self) -> set[UUID]:
        """After a stop: what the engine was given and has not answered."""
        # Answers may come meanwhile: who went through them could not.
        return {one.id for one in self.tickets if one.id not in self.dropped and one.id not in self.outcomes}

    def _work(self) -> None:
        while (ticket := self._next()) is not None:
            self.outcomes[ticket.id] = self._outcome(ticket)
            self._look()

    def _next(self) -> Claimed | None:
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def _look(self) -> None:
        if len(self.outcomes) == self.wanted:
            self.over.set()

    def _outcome(self, ticket: Claimed) -> Outcome:
        try:
            return self.score(ticket)
        except TriageError as error:
            return _alone(error)
        except BaseException as error:
            return error


def _alone(error: TriageError) -> TriageError:
    """Without what led to it, which would keep the ticket's text until someone looks for garbage."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


@dataclass(frozen=True, slots=True)
class Open:
    """A batch in work, with the taxonomy version that it is classified by."""

    batch: Batch
    version: int
    scoring: Scoring
    lease: AbstractContextManager[None]

    def split(self) -> "tuple[Open, Open | None]":
        """After a stop: what can be settled, and under the same lease what the engine still has in hand."""
        held = self.scoring.in_hand()
        return self._of(lambda one: one.id not in held), self._of(lambda one: one.id in held) if held else None

    def _of(self, some: Callable[[Claimed], bool]) -> "Open":
        return replace(self, batch=replace(self.batch, tickets=[one for one in self.batch.tickets if some(one)]))

    def close(self) -> None:
        """Lets the lease go; what nobody has begun is not begun any more."""
        self.scoring.stop()
        self.lease.__exit__(None, None, None)
