"""Posts over HTTP, worker off on all sides: ours with all features on, over the yardstick and over the tutorial.

Called by bench.py.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from statistics import median
from typing import Any

from benchmarks import load
from benchmarks.ratios import Window, why_void
from benchmarks.rounds import Comparison
from benchmarks.stage import SIDES, Stage, free_port, listens, python, until
from models.errors import TriageError
from service.children import Child

WARM_S = 2.0
SETTLE_S = 0.5


@contextmanager
def intake(stage: Stage, seconds: float) -> Iterator[list[Comparison]]:
    """All three serve at once, and one at a time is loaded."""
    with ExitStack() as stack:
        ports = {side: free_port() for side in SIDES}
        children = {side: stack.enter_context(_serving(stage, side, port)) for side, port in ports.items()}
        for side, child in children.items():
            until(partial(listens, ports[side]), child, f"{side} does not answer")
        measured = UnderLoad(stage, ports, seconds)
        for side in ports:
            measured.warm(side)
        yield [
            Comparison("intake_over_yardstick", partial(measured.fast, "ours"), partial(measured.fast, "yardstick")),
            Comparison("intake_over_tutorial", partial(measured.fast, "ours"), partial(measured.fast, "tutorial")),
            Comparison(
                "intake_p99_over_yardstick", partial(measured.calm, "ours"), partial(measured.calm, "yardstick")
            ),
        ]


def _serving(stage: Stage, side: str, port: int) -> AbstractContextManager[Child]:
    if side == "ours":
        # The limit is out of the way, because nothing drains; tickets are counted all the same.
        settings = stage.ours(TRIAGE_PORT=str(port), TRIAGE_QUEUE_LIMIT="10000000")
        return stage.process(side, python("service.cli", "serve"), settings)
    command = python("benchmarks.serve", f"benchmarks.{side}:web", str(port))
    return stage.process(side, command, stage.theirs(side))


class UnderLoad:
    """The three servers under load, one window at a time."""

    def __init__(self, stage: Stage, ports: dict[str, int], seconds: float):
        self.stage, self.ports, self.seconds = stage, ports, seconds
        self.most: list[float] = []  # requests a second that the yardstick answered, window by window

    def warm(self, side: str) -> None:
        self.stage.empty(side)
        found = load.closed(self.ports[side], self.stage.key, min(WARM_S, self.seconds))
        self._rows(side, found["unread"])

    def fast(self, side: str) -> Window:
        """Requests a second in a closed loop."""
        self.stage.empty(side)
        found = load.closed(self.ports[side], self.stage.key, self.seconds)
        if side == "yardstick":
            self.most.append(found["per_s"])
        return self._window(side, found["per_s"], "requests/s", found)

    def calm(self, side: str) -> Window:
        """The 99th percentile of latency at half of what the yardstick can do."""
        if not self.most:
            self.fast("yardstick")
        rate = median(self.most) / 2
        self.stage.empty(side)
        found = load.open_loop(self.ports[side], self.stage.key, self.seconds, rate)
        return self._window(side, found["p99_ms"], "ms", found | {"asked_per_s": rate})

    def _window(self, side: str, figure: float, unit: str, found: dict[str, Any]) -> Window:
        rows = self._rows(side, found["unread"])
        if not found["answered"] <= rows <= found["answered"] + found["unread"]:
            raise TriageError(f"{side} answered {found['answered']} posts and has {rows} rows.")
        void = why_void(found["cpu_share"], found["answered"], found["refused"])
        return Window(side, figure, unit, found | {"rows": rows}, void)

    def _rows(self, side: str, unread: int) -> int:
        """How many tickets there are, once the posts have become rows whose answers nobody stayed to read."""
        before, rows = -1, self._count(side)
        while unread and before != rows:
            time.sleep(SETTLE_S)
            before, rows = rows, self._count(side)
        return rows

    def _count(self, side: str) -> int:
        ((rows,),) = self.stage.sql(side, "SELECT count(*) FROM tickets")
        return int(rows)
