"""How the queue stands and who works on it: for /metrics, /readyz and the overview."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.tables import LIVE_FOR

LIVE = text(f"workers.seen_at > now() - interval '{LIVE_FOR}'")
# Bounded by the queue's limit, so that a scrape of a full queue costs 40 ms. The clock goes on in a transaction: what
# it sees may have been written after its start, and would be of a negative age.
BACKLOG = text("""
    SELECT count(*) AS waiting, EXTRACT(epoch FROM clock_timestamp() - min(queued_at))::float8 AS oldest_s,
           (SELECT count(*) FROM tickets WHERE status = 'working') AS working
    FROM (SELECT queued_at FROM tickets WHERE status = 'queued' LIMIT :most) AS queued""")

# What is erased can never be queued again, so it needs nobody.
FAILED = text("""
    SELECT count(*) FROM (SELECT FROM tickets WHERE status = 'failed' AND erased_at IS NULL LIMIT :most) AS failed""")
MOST_FAILED = 10_000


def backlog(session: Session, limit: int) -> dict[str, Any]:
    """Tickets `waiting`, counted to one above the limit, and `working`; the oldest's seconds in the queue, or None."""
    return dict(session.execute(BACKLOG, {"most": limit + 1}).mappings().one())


def failed(session: Session) -> int:
    """Tickets that are failed until somebody queues them again, counted to MOST_FAILED."""
    counted: int = session.execute(FAILED, {"most": MOST_FAILED}).scalar_one()
    return counted
