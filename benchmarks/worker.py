"""The product's own worker process, over an engine of the benchmark: `python -m benchmarks.worker CALL_SECONDS`.

Only the engine is another; started by draining.py.
"""

import sys
from typing import Any

from benchmarks.engine import Timed
from service import settings
from service.logs import configure
from workers import app, building
from workers.engines.base import Engine


def main(call_s: float) -> None:
    """Works like `triage worker` until SIGTERM."""

    def build(*_: Any, **__: Any) -> Engine:
        return Timed(call_s)

    building.build = build
    loaded = settings.load(None)
    configure(loaded.settings)
    app.run(loaded)


if __name__ == "__main__":
    main(float(sys.argv[1]))
