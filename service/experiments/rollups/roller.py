"""The thread in every API process that counts anew what has changed, so that a report finds little to do.

It rests twenty times as long as it works: an hour in which much happens is counted again and again at a twentieth of a
core. With more to do than it has time for at once, as after an upgrade, it rests as long as it works. Nothing fails
without it.
"""

import threading
import time

import structlog
from sqlalchemy import Engine

from service.experiments.rollups.roll import roll

log = structlog.get_logger()
PAUSE_S = 10.0
BUDGET_S = 5.0
LONGEST_S = 600.0
RESTS = 20
MOST_REST_S = 600.0


class Roller:
    """Rolls until it is stopped."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="roller", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Ends the thread; what it counts at this moment is rolled back or done."""
        self.stopped.set()
        self.thread.join(timeout=BUDGET_S)

    def _run(self) -> None:
        pause = PAUSE_S
        while not self.stopped.wait(pause):
            began = time.monotonic()
            done, took = self._roll(), time.monotonic() - began
            pause = max(PAUSE_S, min(RESTS * took, MOST_REST_S)) if done else max(BUDGET_S, took)

    def _roll(self) -> bool:
        """Whether nothing is left to do, as far as it can tell."""
        try:
            return roll(self.engine, BUDGET_S, longest_s=LONGEST_S)
        except Exception as error:  # the next round is another try, as beside a schema that is not migrated yet
            log.warning("roller.failed", error=type(error).__name__)
            return True
