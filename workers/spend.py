"""What the llms of one engine have cost today, and whether that is all they may. Used by llms, record and runtime.

The sum of all workers stands in the predictions. What this worker has spent and not yet recorded comes on top, and what
other workers have, a few seconds later.
"""

import threading

from sqlalchemy import text
from sqlalchemy.orm import Session

TODAY = text("""
    SELECT (statement_timestamp() AT TIME ZONE 'UTC')::date AS day, coalesce(sum(p.cost), 0)::float8 AS cost
    FROM predictions p JOIN llm_versions v ON v.id = p.llm_version_id
    WHERE v.name = ANY(:names) AND p.cost IS NOT NULL
      AND p.created_at >= date_trunc('day', statement_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'""")


class Spend:
    """One engine's limit for a day that ends at midnight UTC. All methods may be called from any thread."""

    def __init__(self, engine: str, limit: float, names: list[str]):
        self.engine, self.limit, self.names = engine, limit, names
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._day: object = None
        self._days = 0
        self._in_tables = 0.0
        self._not_in_tables = 0.0
        self._settled = 0.0
        self._blind = False

    def reached(self) -> str | None:
        """Why nothing more is asked today."""
        with self._lock:
            if self._blind:
                return (
                    f"The server of the engine {self.engine} does not say how many tokens it has read, so its "
                    "spend_limit_per_day cannot be kept: take the limit out of triage.yaml, or use another server."
                )
            if self._in_tables + self._not_in_tables < self.limit:
                return None
        return (
            f"The engine {self.engine} has spent its {self.limit:g} of today: it is asked again after midnight UTC, or "
            "with a larger spend_limit_per_day."
        )

    def add(self, cost: float | None) -> int:
        """A call was answered; None when nobody knows what it cost. Gives the day to name when it is recorded."""
        with self._lock:
            self._blind = self._blind or cost is None
            self._not_in_tables += cost or 0.0
            return self._days

    def recorded(self, cost: float | None, day: int) -> None:
        """An answer of ours is in the tables; the next reading of them counts it. A former day's is forgotten."""
        with self._lock:
            if day == self._days:
                self._settled += cost or 0.0

    def read(self, session: Session) -> None:
        """Reads the day's sum. What was recorded before is in it, and no longer counted beside it.

        One reading at a time: two at once would both take off what was recorded.
        """
        with self._reading:
            with self._lock:
                settled = self._settled
            row = session.execute(TODAY, {"names": self.names}).one()
            with self._lock:
                if self._day not in (None, row.day):
                    self._days += 1
                    self._not_in_tables = self._settled = settled = 0.0
                self._not_in_tables = max(0.0, self._not_in_tables - settled)
                self._settled -= settled
                self._day, self._in_tables = row.day, row.cost
