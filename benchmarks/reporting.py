"""The A/B report over a million predictions, over one of a hundred thousand, and how long it takes.

Called by bench.py. Built as the API builds it, every ticket judged by both llms.
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

LLMS = 2
TICKETS_A_SECOND = 50_000  # of a window, with an answer of each llm: a million predictions at ten seconds
TIMES_FEWER = 10
BUILDS = 3
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
    of = {side: partial(_window, engines[side], side, LLMS * rows) for side, rows in sizes.items()}
    try:
        yield [Comparison("report_1m_over_100k", of["ours"], of["tutorial"]), Absolute("report_1m", of["ours"])]
    finally:
        for engine in engines.values():
            engine.dispose()


def _window(engine: Engine, side: str, predictions: int) -> Window:
    """The median of a few, each in a transaction of its own."""
    took = []
    for _ in range(BUILDS):
        began = time.perf_counter()
        found = report.build(engine, PAIR, report.Window())
        took.append(1e3 * (time.perf_counter() - began))
        if sum(llm["n"] for llm in found["llms"]) != predictions:
            raise TriageError(f"The report is not about {predictions} predictions.")
    return Window(side, median(took), "ms", {"predictions": predictions})
