"""A worker against a queue that is full before it starts: ours and the tutorial's, over instant, timed and real llms.

Called by bench.py. Every drain is checked: each ticket done, each with its prediction and its triage.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice

from benchmarks.bare import bare
from benchmarks.ratios import Window
from benchmarks.rounds import Comparison
from benchmarks.stage import Stage, python, until
from benchmarks.tickets import texts
from benchmarks.tutorial import QUEUE, celery
from models.errors import TriageError
from models.tables import new_id
from service.children import Child
from service.queue import TaskName, broker_url, celery_app, connect

CALL_S, SLOTS = 0.05, 4
IDEAL = SLOTS / CALL_S
FIRST = 64  # the drain that shows that a worker is there
LONGEST_S = 600.0
STAGED = "staged"

COPY = """
    COPY tickets (id, source, external_id, subject, body, raw, content_sha256, shadow, shadow_rate) FROM STDIN"""
LEFT = "SELECT EXISTS (SELECT FROM tickets WHERE status IN ('queued', 'working'))"
DONE = """
    SELECT count(*), extract(epoch FROM max(done_at) - min(claimed_at))::float8,
           (SELECT count(*) FROM predictions), (SELECT count(*) FROM triages),
           (SELECT string_agg(DISTINCT v.engine, ',') FROM predictions p JOIN llm_versions v ON v.id = p.llm_version_id)
    FROM tickets WHERE status = 'done'"""


@contextmanager
def drain(stage: Stage, seconds: float) -> Iterator[list[Comparison]]:
    """Both workers over an engine that answers at once, so that everything but the llm is measured."""
    with _ours(stage, python("benchmarks.worker", "0")) as ours, _tutorial(stage) as theirs:
        first, second = partial(ours.window, ours.size(seconds)), partial(theirs.window, theirs.size(seconds))
        yield [Comparison("drain_over_tutorial", first, second)]


@contextmanager
def timed(stage: Stage, seconds: float) -> Iterator[list[Comparison]]:
    """Ours over an engine like a 7B model on a GPU; the other side is what that engine can do at best."""
    with _ours(stage, python("benchmarks.worker", str(CALL_S))) as ours:
        ours.window(4 * SLOTS)
        first = partial(ours.window, max(SLOTS, round(IDEAL * seconds)))
        yield [Comparison("service_over_timed_engine", first, lambda: Window("ideal", IDEAL, "tickets/s"))]


@contextmanager
def demo(stage: Stage, seconds: float) -> Iterator[list[Comparison]]:
    """Ours over the demo's primary; the other side is that llm called by itself with ready prompts."""
    with bare(stage.folder, "primary") as llm, _ours(stage, python("service.cli", "worker")) as ours:
        first = partial(ours.window, ours.size(seconds))
        yield [Comparison("service_over_demo_llm", first, partial(llm.tokens, seconds))]


@contextmanager
def _ours(stage: Stage, command: list[str]) -> Iterator["Worker"]:
    with stage.process("worker", command, stage.ours()) as child:
        yield Worker(stage, "ours", child)


@contextmanager
def _tutorial(stage: Stage) -> Iterator["Worker"]:
    """In the pool that was its fastest: of threads (4, 16), gevent (16) and prefork, one process for each core."""
    words = ["-A", "benchmarks.tutorial:celery", "worker", f"--queues={QUEUE}", "--loglevel=WARNING"]
    command = python("celery", *words, "--pool=prefork", f"--concurrency={os.cpu_count()}")
    with stage.process("celery", command, stage.theirs("tutorial")) as child:
        yield Worker(stage, "tutorial", child)


class Worker:
    """A worker that waits for a queue to be filled."""

    def __init__(self, stage: Stage, side: str, child: Child):
        self.stage, self.side, self.child = stage, side, child

    def size(self, seconds: float) -> int:
        """How many tickets it drains in that time, from two short drains that also warm it."""
        rate = self.window(FIRST).figure
        rate = self.window(max(FIRST, round(rate * min(1.0, seconds / 4)))).figure
        return max(FIRST, round(rate * seconds))

    def window(self, tickets: int) -> Window:
        """Tickets a second, from the first claim to the last result."""
        self.stage.empty(self.side)
        ids = self._fill(tickets)
        (self._ring if self.side == "ours" else partial(self._publish, ids))()
        until(self._drained, self.child, f"{self.side} has not drained {tickets} tickets", LONGEST_S)
        ((done, span, predictions, triages, engine),) = self.stage.sql(self.side, DONE)
        if not tickets == done == predictions == triages:
            raise TriageError(f"{self.side}: of {tickets} tickets {done} are done, with {predictions} predictions.")
        facts = {"tickets": tickets, "seconds": span, "engine": engine}
        return Window(self.side, tickets / span, "tickets/s", facts)

    def _fill(self, tickets: int) -> list[str]:
        """All at once and with statistics, so that no drain begins before the queue is full and known to Postgres."""
        ids = [new_id() for _ in range(tickets)]
        connection = self.stage.connection(self.side)
        with connection.transaction():
            with connection.cursor() as cursor, cursor.copy(COPY.encode()) as copy:
                for one, body in zip(ids, islice(texts(), tickets), strict=True):
                    copy.write_row((one, "bench", str(one), "", body, body.encode(), b"", False, 0.0))
            connection.execute("ANALYZE tickets")
        return [str(one) for one in ids]

    def _ring(self) -> None:
        """The bell, as an API process rings it."""
        with celery_app(self.stage.urls.redis_url) as app:
            app.send_task(TaskName.CLASSIFY_DUE)

    def _publish(self, ids: list[str]) -> None:
        """One message per ticket, under another name until all are there: the worker must not begin early."""
        with celery.connection_for_write(broker_url(self.stage.urls.redis_url)) as connection:
            for one in ids:
                celery.send_task("benchmarks.tutorial.classify", (one,), connection=connection, queue=STAGED)
        with connect(self.stage.urls.redis_url) as redis:
            redis.rename(STAGED, QUEUE)

    def _drained(self) -> bool:
        ((left,),) = self.stage.sql(self.side, LEFT)
        return not left
