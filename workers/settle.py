"""What happens to a batch after its answers came: results are written, refusals counted, the rest given back.

Called by `drain`. A write is tried again while Postgres is away and the batch may still be ours.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError

from models.errors import TriageError, Unavailable
from workers.arms import Served
from workers.claim import Batch, Claimed, give_back
from workers.fault import fault, mistake
from workers.figures import Figures
from workers.inflight import Open, Outcome
from workers.record import Attempt, Done, record, reject
from workers.stop import Stop, Stopped

log = structlog.get_logger()
PAUSE_S = 5.0  # how long tickets rest when an engine is away, and does not say for how long
FIRST_AGAIN_S, AGAIN_S = 0.1, 2.0  # between two tries to write, while Postgres is away: twice as long each time


@dataclass(slots=True)
class Outcomes:
    """A batch's tickets by what is to be written of them; `away` says why an engine did not do the `undone` ones."""

    done: list[Done] = field(default_factory=list)
    refused: list[tuple[Claimed, str]] = field(default_factory=list)
    undone: list[Claimed] = field(default_factory=list)
    away: str | None = None
    pause_s: float = PAUSE_S

    @classmethod
    def of(cls, one: Open) -> Self:
        """What has no outcome by now was not finished in time."""
        found = cls()
        for ticket in one.batch.tickets:
            found._add(ticket, one.scoring.outcomes.get(ticket.id) or Stopped("not finished in time"))
        return found

    @property
    def asked(self) -> int:
        """For how many of the results an llm was asked."""
        return sum(one.served.asked for one in self.done)

    @property
    def rest_s(self) -> float:
        """How long the undone ones are not due."""
        return self.pause_s if self.away else 0.0

    def _add(self, ticket: Claimed, outcome: Outcome) -> None:
        if isinstance(outcome, Served):
            self.done.append(Done(ticket, outcome))
        elif (held := fault(outcome)) is not None:
            self.refused.append((ticket, held))
            if mistake(outcome):
                log.error("classify.failed", ticket=str(ticket.id), error=type(outcome).__name__, exc_info=outcome)
        else:
            self.undone.append(ticket)
            self.away = self.away or _why(outcome)
            self.pause_s = max(self.pause_s, getattr(outcome, "retry_after", None) or 0.0)


class Settling:
    """Of one drain's batches, one after the other. `tell` hears of each try for which Postgres was away."""

    def __init__(self, database: Engine, figures: Figures, stopping: Stop, tell: Callable[[Unavailable], None]):
        self.database, self.figures, self.stopping, self.tell = database, figures, stopping, tell

    def settle(self, one: Open, outcomes: Outcomes) -> None:
        """Writes what was scored, counts what was refused, gives the rest back.

        Raises Unavailable once the batch cannot be ours any more, or a stopping worker has waited for FINISH_S.
        """
        self._record(one.batch, one.version, outcomes.done)
        for ticket, held in outcomes.refused:
            self._reject(one.batch, ticket, held)
        ids = [ticket.id for ticket in outcomes.undone]
        back = partial(give_back, self.database, one.batch, ids, delay_s=outcomes.rest_s, error=outcomes.away)
        self._write(one.batch, back)

    def _record(self, batch: Batch, version: int, results: list[Done]) -> None:
        """Writes results; one that Postgres refuses counts against its own ticket and does not sink its neighbours."""
        last = Attempt()
        try:
            self._write(batch, partial(record, self.database, batch.lease, version, results, self.figures, last))
        except (DataError, IntegrityError) as error:
            self._record_apart(batch, version, results, type(error.orig).__name__)
            return
        kept = {row.id for row in last.rows}
        if lost := [str(done.ticket.id) for done in results if done.ticket.id not in kept]:
            self.figures.lost.inc(len(lost))
            log.warning("lease.lost", tickets=lost)

    def _record_apart(self, batch: Batch, version: int, results: list[Done], error: str) -> None:
        if len(results) == 1:
            log.error("result.refused", error=error, ticket=str(results[0].ticket.id))
            self._reject(batch, results[0].ticket, f"Postgres refused the result ({error}).")
            return
        middle = len(results) // 2
        self._record(batch, version, results[:middle])
        self._record(batch, version, results[middle:])

    def _reject(self, batch: Batch, ticket: Claimed, held: str) -> None:
        self._write(batch, partial(reject, self.database, batch.lease, ticket, held, self.figures))

    def _write(self, batch: Batch, write: Callable[[], object]) -> None:
        """Tries while Postgres is away: nothing is scored twice for that. The fence decides, so none is too late."""
        pause = FIRST_AGAIN_S
        while True:
            try:
                write()
                return
            except Unavailable as error:
                if not self._may_be_ours(batch):
                    raise
                self.tell(error)
            time.sleep(pause)
            pause = min(2 * pause, AGAIN_S)

    def _may_be_ours(self, batch: Batch) -> bool:
        """While its lease is renewed; for FINISH_S if the worker was told to stop."""
        return not self.stopping.late() if self.stopping.is_set() else time.monotonic() < batch.until


def _why(error: BaseException) -> str | None:
    """Why a ticket is given back, when that is not the worker's own stop."""
    return error.message if isinstance(error, TriageError) and not isinstance(error, Stopped) else None
