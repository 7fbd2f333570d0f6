"""Claims batches and keeps the engine's slots full, until nothing is due; `settle` writes each. Called by `runtime`."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

import structlog
from sqlalchemy import Engine

from models import taxonomy
from models.db import transaction
from models.errors import TriageError, Unavailable
from service.config import Config
from service.outage import Outage
from workers.arms import Served, serve
from workers.claim import Claimed, claim, give_back, renewed
from workers.inflight import Open, Scoring
from workers.llms import Llms
from workers.ours import Ours
from workers.pace import Pace
from workers.settle import Outcomes, Settling
from workers.stop import Stop, Stopped
from workers.sweep import Marks, Reach, sweep

log = structlog.get_logger()
OPEN = 2  # batches in work: while one is written, the engine's slots have the next, and one more is claimed
HALF_LEASE_S = 30.0
SLOW_S = 0.5  # between two looks at the queue while there is nothing but slow calls


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
        self.stopping = Stop()
        self.going = True  # no engine is away
        self.slow: list[Open] = []  # what an engine has had in hand for half a lease; its neighbours are written
        self.marks: Marks | None = None
        self.reach = Reach()
        self.outage = Outage()
        self.settling = Settling(database, self.figures, self.stopping, self._tell)

    def sweep(self) -> None:
        """Reads where the queue begins, for the claims to come; called now and then from a thread beside them."""
        self.marks = sweep(self.database, self.figures, self.reach)

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

    def settle_slow(self) -> None:
        """Writes what was answered since the last drain ended: there may be no llm for another one."""
        if self.slow and self.running.acquire(blocking=False):
            try:
                if (away := self._settle_slow(0.0)) is not None:
                    self._tell(away)
            finally:
                self.running.release()

    def stop(self) -> None:
        """No further claim; what is in the engine's hands may finish for FINISH_S."""
        self.stopping.set()

    def close(self) -> None:
        """Gives back what is still in the engine's hands after FINISH_S, and lets its threads go."""
        self.stop()
        while self.slow:
            self._settle_slow()
        for pool in (self.pool, self.claimer):
            pool.shutdown(wait=False, cancel_futures=True)

    def _work(self) -> None:
        """Batch after batch, each claimed before the one before it is written, and the next while it is.

        What Postgres does not take for one batch it may take for the next, which has been scored as well.
        """
        batches: deque[Open] = deque()
        away: Unavailable | None = None
        try:
            while self._claim_ahead(batches, going=away is None and self.going) or self._waits(away):
                if batches:
                    self._wait(batches[0].scoring)
                    with self._claiming(batches, going=away is None and self.going):
                        away = self._settled(batches[0]) or away
                    batches.popleft()
                away = self._settle_slow(0.0 if batches else SLOW_S) or away
        finally:  # a lease must not outlive the work, whatever went wrong
            self._leave(batches)
        if away is not None:
            raise away

    def _waits(self, away: Unavailable | None) -> bool:
        """Whether there is nothing to do but to wait for a slow engine."""
        return bool(self.slow) and away is None and self.going

    def _settled(self, one: Open) -> Unavailable | None:
        """Settles what has an outcome, and keeps what has none for later; why Postgres did not take it, if so."""
        now, later = (one, None) if self.stopping.late() else one.split()
        try:
            self._finish(now)
        except Unavailable as error:
            return error
        finally:
            if later is None:
                one.close()
            else:
                self.slow.append(later)
        return None

    def _settle_slow(self, patience_s: float = SLOW_S) -> Unavailable | None:
        """What has its outcomes by now, or within the patience; all of it when a stopping worker may wait no longer."""
        away = None
        for one in list(self.slow):
            if one.scoring.over.wait(patience_s / len(self.slow)) or self.stopping.late():
                self.slow.remove(one)
                away = self._settled(one) or away
        return away

    def _leave(self, batches: "deque[Open]") -> None:
        """The batch that could not be written waits for its lease's end, then each of its tickets is tried alone.

        The others go back at once, since they have nothing to do with that.
        """
        for place, one in enumerate(batches):
            one.close()
            if place > 0:
                with suppress(TriageError):
                    give_back(self.database, one.batch, [ticket.id for ticket in one.batch.tickets])

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
        while going and not self.stopping.is_set() and len(batches) < most and self._has_slots():
            if any(one.batch.suspect for one in (*batches, *self.slow)):
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

    def _has_slots(self) -> bool:
        return sum(len(one.batch.tickets) for one in self.slow) < self.pace.parallel

    def _claim(self, *, busy: bool) -> Open | None:
        """The next batch, with the engine; None when nothing is due, or an llm is to be told other labels first."""
        with transaction(self.database) as session:
            version, vocabulary = taxonomy.active(session)
        if self.llms.behind(vocabulary):
            return None  # the look after this drain tells it, and goes on
        batch = claim(
            self.database,
            self.pace.size,
            busy=busy,
            slow=bool(self.slow),
            marks=self.marks,
            reach=self.reach,
            figures=self.figures,
        )
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
        """Settles a batch, and notes how long it took. It ends the drain when an engine is away."""
        outcomes = Outcomes.of(one)
        self.going = outcomes.away is None and self.going
        self.settling.settle(one, outcomes)
        if self.going:
            self.pace.settled(outcomes.asked)

    def _begin(self, vocabulary: taxonomy.Taxonomy, ours: Ours, ticket: Claimed) -> Served:
        if not ours.has(ticket.id):
            raise Stopped("the ticket is no longer ours")
        return self._score(vocabulary, ticket)

    def _score(self, vocabulary: taxonomy.Taxonomy, ticket: Claimed) -> Served:
        if self.stopping.is_set():
            raise Stopped("the worker is stopping")
        return serve(self.llms, self.config, vocabulary, ticket)

    def _wait(self, scoring: Scoring) -> None:
        """Until all are scored, or for half a lease, or for FINISH_S after the worker was told to stop.

        What nobody has begun by then goes back: the engine has become slower than when the batch was sized.
        """
        while not scoring.over.wait(0.2):
            if self.stopping.late():
                return
            if time.monotonic() - scoring.since > HALF_LEASE_S:
                scoring.stop()
                return

    def _tell(self, away: Unavailable) -> None:
        if self.outage.lasts():
            log.warning("drain.postgres_away", error=away.message)
