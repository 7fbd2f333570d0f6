"""The A/B report over a million predictions, over one of a hundred thousand, and how long it takes.

Called by bench.py. Built as the API builds it, with an answer of both llms to every ticket. All is counted before, as
in a service that runs; how long that takes once, as after an import of so many old tickets, is a figure apart.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median

from sqlalchemy import Engine

from benchmarks import filling
from benchmarks.ratios import Window
from benchmarks.rounds import Absolute, Comparison
from benchmarks.stage import Stage
from models.db import make_engine
from models.errors import TriageError
from service.config import Arm
from service.experiments import report
from service.experiments.assignment import Experiment
from service.experiments.rollups.roll import roll

LLMS = 2
TICKETS_A_SECOND = 50_000  # of a window, with an answer of each llm: a million predictions at ten seconds
TIMES_FEWER = 10
BUILDS = 3
ENOUGH_S = 3600.0
PAIR = Experiment(
    "primary-or-fallback", "category", "shadow", Arm(primary="primary"), Arm(primary="fallback"), implied=True
)


@contextmanager
def reports(stage: Stage, seconds: float) -> Iterator[list[Comparison | Absolute]]:
    """Two databases of the same shape, of which one has ten times as many rows."""
    many = round(TICKETS_A_SECOND * seconds)
    sizes = {"ours": many, "tutorial": many // TIMES_FEWER}
    for side, rows in sizes.items():
        filling.fill(stage, side, rows, predicted=True)
    engines = {side: make_engine(stage.databases[side], pool_size=1) for side in sizes}
    took = {side: _catch_up(stage, side, engine) for side, engine in engines.items()}
    of = {side: partial(_window, engines[side], side, LLMS * rows) for side, rows in sizes.items()}
    try:
        yield [
            Comparison("report_1m_over_100k", of["ours"], of["tutorial"]),
            Absolute("report_1m", of["ours"]),
            Absolute("report_catch_up", lambda: took["ours"]),
        ]
    finally:
        for engine in engines.values():
            engine.dispose()


def _catch_up(stage: Stage, side: str, engine: Engine) -> Window:
    """Counts every hour, and says how long that took."""
    began = time.perf_counter()
    roll(engine, ENOUGH_S)
    seconds = time.perf_counter() - began
    stage.sql(side, "VACUUM ANALYZE stale_hours, report_counts, report_pairs")
    return Window(side, seconds, "s", {})


def _window(engine: Engine, side: str, predictions: int) -> Window:
    """The median of a few, each in a transaction of its own."""
    took = []
    for _ in range(BUILDS):
        began = time.perf_counter()
        found = report.build(engine, PAIR, report.Window())
        took.append(1e3 * (time.perf_counter() - began))
        if sum(llm["n"] for llm in found["llms"]) != predictions or found["counted"]["behind_hours"]:
            raise TriageError(f"The report is not about {predictions} predictions.")
    return Window(side, median(took), "ms", {"predictions": predictions})
