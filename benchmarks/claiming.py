"""How long a worker's claims take while it drains a long queue among a million done tickets, over an empty table.

Called by bench.py. Once more with a snapshot held open, as a long report or a backup holds one: then Postgres may
clear away nothing of what the drain leaves behind.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import quantiles

import psycopg

from benchmarks import filling
from benchmarks.draining import LEFT, LONGEST_S
from benchmarks.ratios import Window
from benchmarks.rounds import Comparison
from benchmarks.stage import Stage, python, until
from models.db import conninfo
from models.errors import TriageError
from service.children import Child

DONE_A_SECOND, QUEUED_A_SECOND = 100_000, 10_000  # of a window: a million and a hundred thousand at ten seconds
PARTS = 4  # the empty table gets the queue in so many parts, so that it stays empty and has as many claims
SETTLED = "DELETE FROM {} WHERE ticket_id IN (SELECT id FROM tickets WHERE source = 'queue')"


@contextmanager
def claims(stage: Stage, seconds: float) -> Iterator[list[Comparison]]:
    """A worker on each of two databases; the tutorial's serves as the empty one."""
    queued = round(QUEUED_A_SECOND * seconds)
    filling.fill(stage, "ours", round(DONE_A_SECOND * seconds))
    with _claims(stage, "ours") as full, _claims(stage, "tutorial") as empty:
        empty.alone(queued)
        alone = partial(empty.alone, queued)
        yield [
            Comparison("claim_drain_over_empty", partial(full.among, queued), alone),
            Comparison("claim_drain_over_empty_snapshot", partial(full.among, queued, snapshot=True), alone),
        ]


@contextmanager
def _claims(stage: Stage, side: str) -> Iterator["Claims"]:
    path = stage.folder / f"claims-{side}.txt"
    path.touch()
    settings = stage.ours(TRIAGE_DATABASE_URL=stage.databases[side])
    with stage.process(f"worker-{side}", python("benchmarks.worker", "0", str(path)), settings) as child:
        yield Claims(stage, side, child, path)


class Claims:
    """One worker, its database, and where it notes its claims."""

    def __init__(self, stage: Stage, side: str, child: Child, path: Path):
        self.stage, self.side, self.child, self.path = stage, side, child, path

    def among(self, queued: int, *, snapshot: bool = False) -> Window:
        """The 99th percentile of the claims of a full drain, done tickets around it."""
        for table in ("predictions", "triages"):
            self.stage.sql(self.side, SETTLED.format(table))
        self.stage.sql(self.side, "DELETE FROM tickets WHERE source = 'queue'")
        filling.settle(self.stage, self.side)
        with self._snapshot() if snapshot else nullcontext():
            found = self._drained(queued)
        return self._window("snapshot" if snapshot else "full drain", found, queued)

    def alone(self, queued: int) -> Window:
        """The same number of claims on tickets that have the table for themselves."""
        found: list[tuple[int, float]] = []
        self.stage.empty(self.side)
        for _ in range(PARTS):
            self.stage.sql(self.side, "TRUNCATE tickets CASCADE")
            found += self._drained(max(1, queued // PARTS))
        return self._window("empty table", found, PARTS * max(1, queued // PARTS))

    def _drained(self, queued: int) -> list[tuple[int, float]]:
        """What the worker notes about its claims while it drains so many tickets."""
        before = self.path.stat().st_size
        complaint = f"{self.side} has not drained {queued} tickets"
        filling.tickets(self.stage, self.side, queued, queued=True)
        # The table is asked only at the end: beside a snapshot the question costs as much as a claim.
        until(lambda: sum(tickets for tickets, _ in self._noted(before)) >= queued, self.child, complaint, LONGEST_S)
        until(self._empty, self.child, complaint, LONGEST_S)
        return self._noted(before)

    def _noted(self, before: int) -> list[tuple[int, float]]:
        """Since the file had this size; its last line may be half written."""
        lines = self.path.read_bytes()[before:].split(b"\n")[:-1]
        return [(int(tickets), float(ms)) for tickets, ms in (line.split() for line in lines)]

    def _empty(self) -> bool:
        ((left,),) = self.stage.sql(self.side, LEFT)
        return not left

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """A transaction that goes on seeing the rows as they are now."""
        with psycopg.connect(conninfo(self.stage.databases[self.side])) as held:
            held.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            held.execute("SELECT count(*) FROM workers")
            yield

    def _window(self, name: str, found: list[tuple[int, float]], queued: int) -> Window:
        if sum(tickets for tickets, _ in found) != queued:
            raise TriageError(f"{name}: {len(found)} claims took {sum(t for t, _ in found)} of {queued} tickets.")
        took = sorted(ms for _, ms in found)
        cuts = quantiles(took, n=100, method="inclusive") if len(took) > 1 else took * 99
        facts = {"claims": len(took), "p50_ms": cuts[49], "most_ms": took[-1]}
        return Window(name, cuts[98], "ms", facts)
