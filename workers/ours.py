"""Whether a ticket in hand is still this worker's: one that was erased or changed goes to no llm. Called by drain.

The write is fenced in any case; this is for what cannot be taken back, a text on another machine, and for idle work.
"""

import threading
import time
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog
from sqlalchemy import Engine, text

from models.db import transaction
from models.errors import Unavailable
from workers.claim import Batch

log = structlog.get_logger()
OFTEN_S = 1.0
STILL = text("SELECT id FROM tickets WHERE id = ANY(:ids) AND lease_id = :lease")


def still_ours(engine: Engine, lease: UUID, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these tickets still stand under the lease."""
    with transaction(engine) as session:
        return set(session.scalars(STILL, {"lease": lease, "ids": list(ids)}))


class Ours:
    """The tickets of one batch, just claimed. Asks once a second at most, or before each ticket if one may `leave`."""

    def __init__(self, engine: Engine, batch: Batch, leave: bool, clock: Callable[[], float] = time.monotonic):
        self.engine, self.lease, self.leave, self.clock = engine, batch.lease, leave, clock
        self.ids = {ticket.id for ticket in batch.tickets}
        self.asked, self.away = clock(), False
        self.asking = threading.Lock()

    def has(self, ticket: UUID) -> bool:
        """Whether it may be begun. While Postgres is away nobody can erase it, so what was known is what holds."""
        with self.asking:
            if (self.leave and not self.away) or self.clock() - self.asked > OFTEN_S:
                self._ask()
            return ticket in self.ids

    def _ask(self) -> None:
        try:
            still = still_ours(self.engine, self.lease, list(self.ids))
            if gone := self.ids - still:
                log.info("lease.gone", tickets=sorted(map(str, gone)))
            self.ids, self.away = still, False
        except Unavailable:
            self.away = True
        self.asked = self.clock()
