"""How much memory an API process and a worker need, without an llm, after ten thousand tickets. Called by bench.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psutil

from benchmarks import load
from benchmarks.draining import LEFT, LONGEST_S
from benchmarks.ratios import Window
from benchmarks.rounds import Absolute
from benchmarks.stage import Stage, free_port, listens, python, until
from models.errors import TriageError
from service.children import Child

TICKETS_A_SECOND = 1_000  # of a window: ten thousand at ten seconds
LOAD_S = 1.0  # of posts, again and again, until there are enough tickets
COUNT = "SELECT count(*), (SELECT count(*) FROM triages) FROM tickets"


@contextmanager
def memory(stage: Stage, seconds: float) -> Iterator[list[Absolute]]:
    """An API and a worker as they run, over an engine that answers at once."""
    yield [Absolute("memory_api_and_worker", partial(_window, stage, round(TICKETS_A_SECOND * seconds), seconds))]


def _window(stage: Stage, wanted: int, seconds: float) -> Window:
    """Fresh processes, so that nothing is measured that was there before."""
    stage.empty("ours")
    port = free_port()
    settings = stage.ours(TRIAGE_PORT=str(port), TRIAGE_QUEUE_LIMIT="10000000")
    with (
        stage.process("ours", python("service.cli", "serve"), settings) as api,
        stage.process("worker", python("benchmarks.worker", "0"), settings) as worker,
    ):
        until(partial(listens, port), api, "the API does not answer")
        while _count(stage)[0] < wanted:
            if load.closed(port, stage.key, min(LOAD_S, seconds))["refused"]:
                raise TriageError("The API refused tickets while its memory was to be measured.")
        until(partial(_drained, stage), worker, "the worker has not drained the tickets", LONGEST_S)
        found = {child.name: _megabytes(child) for child in (api, worker)}
    tickets, triages = _count(stage)
    return Window("ours", sum(found.values()), "MB", found | {"tickets": tickets, "triages": triages})


def _count(stage: Stage) -> tuple[int, int]:
    ((tickets, triages),) = stage.sql("ours", COUNT)
    return tickets, triages


def _drained(stage: Stage) -> bool:
    ((left,),) = stage.sql("ours", LEFT)
    return not left


def _megabytes(child: Child) -> float:
    """The proportional share, which counts what processes share once; a system that does not know it has `uss`."""
    assert child.process is not None  # noqa: S101
    first = psutil.Process(child.process.pid)
    every = [one.memory_full_info() for one in (first, *first.children(recursive=True))]
    return sum(getattr(one, "pss", one.uss) for one in every) / 1e6
