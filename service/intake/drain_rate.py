"""How fast workers record tickets, by what their heartbeats carry, and so when a full queue has room. Used by depth."""

import math
from collections import deque
from collections.abc import Iterable

from models.tables import LIVE_FOR

WINDOW_S = 60.0
LEAST_S, MOST_S = 1, 300
UNKNOWN_S = 30

_COUNTED = "triage_ticket_time_to_label_seconds"
# Each live worker's last heartbeat, and how many tickets it had recorded by then; one of another release may not say.
HEARTBEATS = f"""
    SELECT id::text, extract(epoch FROM seen_at)::float8, coalesce(
        (SELECT (sample ->> 2)::float8 FROM jsonb_array_elements(figures -> '{_COUNTED}' -> 'samples') sample
         WHERE sample ->> 0 = '{_COUNTED}_count'), 0)
    FROM workers WHERE seen_at > now() - interval '{LIVE_FOR}'"""  # noqa: S608 (only our own words)


class DrainRate:
    """The heartbeats of the last minute, and what follows from them."""

    def __init__(self) -> None:
        self.beats: dict[str, deque[tuple[float, float]]] = {}

    def heard(self, workers: Iterable[tuple[str, float, float]]) -> None:
        """Each live worker's (id, time of its last heartbeat, tickets recorded since its start)."""
        former, self.beats = self.beats, {}
        for worker, at, recorded in workers:
            beats = self.beats[worker] = former.get(worker, deque())
            if not beats or beats[-1][0] < at:
                beats.append((at, recorded))
            while beats[0][0] < at - WINDOW_S:
                beats.popleft()

    def per_second(self) -> float | None:
        """Tickets that all workers record together; None until one of them has beaten twice."""
        spans = [(beats[0], beats[-1]) for beats in self.beats.values() if len(beats) > 1]
        return sum((last[1] - first[1]) / (last[0] - first[0]) for first, last in spans) if spans else None

    def seconds_for(self, tickets: int) -> int:
        """When so many more will be done, as a whole number of seconds that a caller can be told."""
        rate = self.per_second()
        if rate is None:
            return UNKNOWN_S
        return min(MOST_S, max(LEAST_S, math.ceil(tickets / rate))) if rate > 0 else MOST_S
