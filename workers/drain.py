"""Claim, classify, record, again, until nothing is due. Called by `runtime`."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError

from models import taxonomy
from models.db import transaction
from models.errors import EngineDown, EngineError, TriageError, Unavailable
from service.config import Config
from service.outage import Outage
from workers.arms import Served, serve
from workers.claim import Batch, Claimed, claim, give_back, renewed
from workers.llms import Llms
from workers.ours import Ours
from workers.pace import Pace
from workers.record import Attempt, Done, record, reject
from workers.slots import Open, Outcome, Scoring
from workers.sweep import Marks, sweep

log = structlog.get_logger()
OPEN = 2  # batches in work: while one is written, the engine's slots have the next, and one more is claimed
FINISH_S = 10.0
HALF_LEASE_S = 30.0
PAUSE_S = 5.0  # how long tickets rest when an engine is away, and does not say for how long
FIRST_AGAIN_S, AGAIN_S = 0.1, 2.0  # between two tries to write, while Postgres is away: twice as long each time


class Stopped(TriageError):
    """The worker is stopping; the ticket was not begun."""


class Drain:
    """One drain at a time in a process; `parallel` tickets are in the engine's hands at once."""

    def __init__(self, database: Engine, llms: Llms, config: Config, parallel: int):
        self.database, self.llms, self.config = database, llms, config
        self.figures = llms.figures
        self.pace = Pace(parallel)
        self.pool = ThreadPoolExecutor(parallel, thread_name_prefix="classify")
        self.claimer = ThreadPoolExecutor(1, thread_name_prefix="claim")
        self.running = threading.Lock()
        self.rung = threading.Event()
        self.stopping = threading.Event()
        self.going = True  # no engine is away
        self.deadline: float | None = None
        self.marks: Marks | None = None
        self.outage = Outage()

    def sweep(self) -> None:
        """Reads where the queue begins, for the claims to come; called now and then from a thread beside them."""
        self.marks = sweep(self.database, self.figures)

    def run(self) -> None:
        """Works until nothing is due. If another thread drains already, that one looks once more instead."""
        self.rung.set()
        while self.rung.is_set() and self.running.acquire(blocking=False):
            try:
                self.rung.clear()
                self.going = True
                self._work()
            except Unavailable as error:
                self._tell(error)
            else:
                self.outage.over()
            finally:
                self.running.release()

    def stop(self) -> None:
        """No further claim; what is in the engine's hands may finish for FINISH_S."""
        self.stopping.set()

    def close(self) -> None:
        """Lets its threads go."""
        for pool in (self.pool, self.claimer):
            pool.shutdown(wait=False, cancel_futures=True)

    def _work(self) -> None:
        """Batch after batch, each claimed before the one before it is written, and the next while it is.

        What Postgres does not take for one batch it may take for the next, which has been scored as well.
        """
        batches: deque[Open] = deque()
        away: Unavailable | None = None
        try:
            while self._claim_ahead(batches, going=away is None and self.going):
                one = batches[0]
                self._wait(one.scoring)
                with self._claiming(batches, going=away is None and self.going):
                    try:
                        self._finish(one)
                    except Unavailable as error:
                        away = error
                batches.popleft().close()
        finally:  # a lease must not outlive the work, whatever went wrong
            for one in batches:
                one.close()
        if away is not None:
            raise away

    @contextmanager
    def _claiming(self, batches: "deque[Open]", *, going: bool) -> Iterator[None]:
        """Where the queue is long, claims one more beside the block, which writes: both mostly wait for Postgres."""
        if len(batches) < OPEN:
            yield
            return
        ahead = self.claimer.submit(self._claim_ahead, batches, OPEN + 1, going=going)
        try:
            yield
        finally:
            ahead.result()

    def _claim_ahead(self, batches: "deque[Open]", most: int = OPEN, *, going: bool) -> bool:
        """Fills up to `most` batches, unless one that must be alone is among them; whether there is one at all."""
        while going and not self.stopping.is_set() and len(batches) < most:
            if any(one.batch.suspect for one in batches):
                break
            try:
                found = self._claim(busy=bool(batches))
            except Unavailable:
                if not batches:
                    raise
                break  # what is in work is not lost for that: Postgres may be back when it is written
            if found is None:
                break
            batches.append(found)
        return bool(batches)

    def _claim(self, *, busy: bool) -> Open | None:
        """The next batch, with the engine; None when nothing is due, or an llm is to be told other labels first."""
        with transaction(self.database) as session:
            version, vocabulary = taxonomy.active(session)
        if self.llms.behind(vocabulary):
            return None  # the look after this drain tells it, and goes on
        batch = claim(self.database, self.pace.size, busy=busy, marks=self.marks, figures=self.figures)
        if not batch.tickets:
            return None
        if not busy:
            self.pace.start()
        lease = renewed(self.database, batch)
        lease.__enter__()
        ours = Ours(self.database, batch, self.llms.leaves)
        scoring = Scoring(batch.tickets, partial(self._begin, vocabulary, ours))
        scoring.start(self.pool, self.pace.parallel)
        return Open(batch, version, scoring, lease)

    def _finish(self, one: Open) -> None:
        """Settles a batch, and notes how long it took."""
        asked = self._settle(one.batch, one.version, one.scoring.outcomes)
        if self.going:
            self.pace.settled(asked)

    def _begin(self, vocabulary: taxonomy.Taxonomy, ours: Ours, ticket: Claimed) -> Served:
        if not ours.has(ticket.id):
            raise Stopped("the ticket is no longer ours")
        return self._score(vocabulary, ticket)

    def _score(self, vocabulary: taxonomy.Taxonomy, ticket: Claimed) -> Served:
        if self.stopping.is_set():
            raise Stopped("the worker is stopping")
        return serve(self.llms, self.config, vocabulary, ticket)

    def _wait(self, scoring: Scoring) -> None:
        """Until all are scored, or for FINISH_S after the worker was told to stop.

        What has waited for half a lease goes back: the engine has become slower than when the batch was sized.
        """
        while not scoring.over.wait(0.2):
            if time.monotonic() - scoring.since > HALF_LEASE_S:
                scoring.stop()
            if self.stopping.is_set() and self._late():
                return

    def _settle(self, batch: Batch, version: int, outcomes: dict[UUID, Outcome]) -> int:
        """Writes what was scored, counts what was refused, gives the rest back; for how many an llm was asked.

        It ends the drain when an engine is away.
        """
        results: list[Done] = []
        refused: list[tuple[Claimed, str]] = []
        undone: list[Claimed] = []
        away: str | None = None
        pause = PAUSE_S
        for ticket in batch.tickets:
            outcome = outcomes.get(ticket.id) or Stopped("not finished in time")
            if isinstance(outcome, Served):
                results.append(Done(ticket, outcome))
            elif (fault := _fault(outcome, ticket)) is not None:
                refused.append((ticket, fault))
            else:
                undone.append(ticket)
                away = away or _why(outcome)
                pause = max(pause, getattr(outcome, "retry_after", None) or 0.0)
        self.going = away is None and self.going
        self._record(batch, version, results)
        for ticket, fault in refused:
            self._reject(batch, ticket, fault)
        ids = [ticket.id for ticket in undone]
        rest = pause if away else 0.0
        self._write(batch, partial(give_back, self.database, batch, ids, delay_s=rest, error=away))
        return sum(done.served.asked for done in results)

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

    def _reject(self, batch: Batch, ticket: Claimed, fault: str) -> None:
        self._write(batch, partial(reject, self.database, batch.lease, ticket, fault, self.figures))

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
                self._tell(error)
            time.sleep(pause)
            pause = min(2 * pause, AGAIN_S)

    def _may_be_ours(self, batch: Batch) -> bool:
        """While its lease is renewed; for FINISH_S if the worker was told to stop."""
        return not self._late() if self.stopping.is_set() else time.monotonic() < batch.until

    def _late(self) -> bool:
        """Whether FINISH_S are over since this was asked first."""
        self.deadline = self.deadline or time.monotonic() + FINISH_S
        return time.monotonic() > self.deadline

    def _tell(self, away: Unavailable) -> None:
        if self.outage.lasts():
            log.warning("drain.postgres_away", error=away.message)


def _fault(error: BaseException, ticket: Claimed) -> str | None:
    """What to hold against the ticket itself; None when the error is not the ticket's."""
    if isinstance(error, EngineError) and not isinstance(error, EngineDown):
        return error.message
    if isinstance(error, TriageError):
        return None
    # A mistake of ours that this ticket brings out: the log knows more, and the ticket must not come back for ever.
    log.error("classify.failed", ticket=str(ticket.id), error=type(error).__name__, exc_info=error)
    return f"The worker failed with {type(error).__name__}; its log has the details."


def _why(error: BaseException) -> str | None:
    """Why a ticket is given back, when that is not the worker's own stop."""
    return error.message if isinstance(error, TriageError) and not isinstance(error, Stopped) else None
