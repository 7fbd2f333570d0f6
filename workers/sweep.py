"""What is looked for now and then, not by every claim: expired leases, and where the queue begins. For claim and drain.

While a long transaction is open, as a backup's, Postgres keeps an index entry for each ticket that was claimed since,
and who reads the queue from its beginning passes them all. So a claim begins at the marks that a sweep has read.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Engine, Row, text
from sqlalchemy.orm import Session

from models.db import transaction
from models.tables import BULK_PRIORITY
from workers.figures import Figures

log = structlog.get_logger()
SWEEP_S = 1.0
OLD_S = 10.0  # of marks: who reads no newer ones may not claim by them
SLACK = "5 seconds"  # a ticket is due from its transaction's beginning on, and seen from its end on
GRACE_S = 10.0  # after Postgres was away, for who held a lease before: nobody could renew it or write
AWAY_S = 10.0  # without a sweep, after which that may have been so
PRIORITIES = list(range(BULK_PRIORITY + 1))

MOST_LOST = 3
LOST = f"{MOST_LOST} workers in a row died or froze while they had this ticket."

EXPIRE = text("""
    UPDATE tickets SET lease_id = NULL, lease_until = NULL, lost_leases = lost_leases + 1,
        status = CASE WHEN lost_leases + 1 >= :most THEN 'failed' ELSE 'queued' END,
        last_error = CASE WHEN lost_leases + 1 >= :most THEN :lost ELSE last_error END
    WHERE id = ANY(ARRAY(SELECT id FROM tickets WHERE status = 'working' AND lease_until < now()
                             AND ((claimed_at < pg_postmaster_start_time()) IS NOT TRUE
                                  OR pg_postmaster_start_time() < now() - make_interval(secs => :grace))
                         FOR UPDATE SKIP LOCKED))
    RETURNING id, lost_leases""")
MARKS = text("""
    SELECT least(now() - CAST(:slack AS interval),
                 (SELECT due_at FROM tickets WHERE status = 'queued' AND lost_leases = 0 AND priority = wanted.priority
                  ORDER BY due_at LIMIT 1))
    FROM unnest(CAST(:priorities AS int[])) WITH ORDINALITY AS wanted (priority, place) ORDER BY place""")


@dataclass(frozen=True, slots=True)
class Marks:
    """For each of PRIORITIES a time before which no ticket was due that a claim could take."""

    since: list[datetime]
    read_at: float = field(default_factory=time.monotonic)

    @property
    def old(self) -> bool:
        """Whether too much may have come in below them: what was committed late, or moved by hand."""
        return time.monotonic() - self.read_at > OLD_S


class Reach:
    """Whether Postgres was within reach lately: frozen, or with its network gone, it has not started anew since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.seen: float | None = None
        self.again = -math.inf  # when it had last come back

    def steady(self) -> bool:
        """To be asked while it answers. Where every answer takes that long, every second time is steady."""
        now = self.clock()
        if self.seen is not None and now - self.seen > AWAY_S and now - self.again > 2 * GRACE_S:
            self.again = now
        self.seen = now
        return now - self.again >= GRACE_S


def sweep(engine: Engine, figures: Figures | None = None, reach: Reach | None = None) -> Marks:
    """Reads where the queue begins; makes expired leases due again, or fails what lost MOST_LOST workers in a row.

    What comes to be due below the marks is seen by the next sweep.
    """
    with transaction(engine) as session:
        since = session.scalars(MARKS, {"slack": SLACK, "priorities": PRIORITIES}).all()
        lost = _expire(session) if reach is None or reach.steady() else []
    if lost and figures is not None:
        figures.swept(len(lost), sum(row.lost_leases >= MOST_LOST for row in lost))
    if lost:
        log.warning("lease.expired", tickets={str(row.id): row.lost_leases for row in lost})
    return Marks(list(since))


def _expire(session: Session) -> Sequence[Row[Any]]:
    return session.execute(EXPIRE, {"most": MOST_LOST, "lost": LOST, "grace": GRACE_S}).all()
