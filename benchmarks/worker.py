"""The product's own worker process, over an engine of the benchmark: `python -m benchmarks.worker CALL_SECONDS [FILE]`.

Only the engine is another; into FILE goes how long each claim took. Started by draining.py, claiming.py and memory.py.
"""

import functools
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.engine import Timed
from service import settings
from service.logs import configure
from workers import app, building, drain, runtime
from workers.claim import Batch, claim
from workers.engines.base import Engine

SOON_S = 0.05  # between two looks into the table, where it is filled by nobody who rings


def main(call_s: float, claims: Path | None = None) -> None:
    """Works like `triage worker` until SIGTERM."""
    if claims:
        vars(drain)["claim"] = _noted(claims)
        runtime.LOOK_S = SOON_S

    def build(*_: Any, **__: Any) -> Engine:
        return Timed(call_s)

    building.build = build
    loaded = settings.load(None)
    configure(loaded.settings)
    app.run(loaded)


def _noted(path: Path) -> Any:
    """A line for each claim that found tickets: how many, and the milliseconds it took."""

    @functools.wraps(claim)
    def timed(*given: Any, **named: Any) -> Batch:
        began = time.perf_counter()
        batch = claim(*given, **named)
        ms = 1e3 * (time.perf_counter() - began)
        if batch.tickets:
            with path.open("a") as file:
                file.write(f"{len(batch.tickets)} {ms}\n")
        return batch

    return timed


if __name__ == "__main__":
    main(float(sys.argv[1]), *map(Path, sys.argv[2:]))
