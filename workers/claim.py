"""The lease on a batch of tickets: claim, renew, give back. Every time here is the database's clock. Used by drain.

A claimed ticket is `working` and carries a lease id. Whoever holds the id may write; an expired lease is claimed anew
under another id, so a worker that was frozen finds that nothing is its own any more.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import Engine, text

from models.db import transaction
from models.errors import Unavailable
from models.tables import new_id

log = structlog.get_logger()
LEASE = "60 seconds"
RENEW_S = 20.0

EXPIRE = text("""
    UPDATE tickets SET status = 'queued', lease_id = NULL, lease_until = NULL
    WHERE id = ANY(ARRAY(SELECT id FROM tickets WHERE status = 'working' AND lease_until < now()
                         FOR UPDATE SKIP LOCKED))""")
CLAIM = text("""
    UPDATE tickets SET status = 'working', lease_id = :lease, lease_until = now() + CAST(:span AS interval),
        claimed_at = clock_timestamp()
    WHERE id = ANY(ARRAY(SELECT id FROM tickets WHERE status = 'queued' AND due_at <= now()
                         ORDER BY priority, due_at LIMIT :most FOR UPDATE SKIP LOCKED))
    RETURNING id, run, subject, body, shadow, attempts""")
RENEW = text("UPDATE tickets SET lease_until = now() + CAST(:span AS interval) WHERE lease_id = :lease")
GIVE_BACK = text("""
    UPDATE tickets SET status = 'queued', lease_id = NULL, lease_until = NULL,
        due_at = now() + make_interval(secs => :delay_s), last_error = :error
    WHERE id = ANY(:ids) AND lease_id = :lease""")


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker needs to know of a ticket."""

    id: UUID
    run: int
    subject: str
    body: str
    shadow: bool
    attempts: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Tickets under one lease."""

    lease: UUID
    tickets: list[Claimed]


def claim(engine: Engine, most: int) -> Batch:
    """Up to `most` due tickets, urgent and old ones first; expired leases become due again on the way."""
    lease = new_id()
    with transaction(engine) as session:
        session.execute(EXPIRE)
        rows = session.execute(CLAIM, {"lease": lease, "span": LEASE, "most": most}).all()
    return Batch(lease, [Claimed(*row) for row in rows])


def give_back(engine: Engine, batch: Batch, ids: list[UUID], *, delay_s: float = 0.0, error: str | None = None) -> None:
    """Puts tickets of the batch back into the queue; costs them no attempt."""
    if ids:
        with transaction(engine) as session:
            session.execute(GIVE_BACK, {"lease": batch.lease, "ids": ids, "delay_s": delay_s, "error": error})


@contextmanager
def renewed(engine: Engine, batch: Batch) -> Iterator[None]:
    """Keeps the lease alive from a thread of its own while the block runs."""
    over = threading.Event()
    thread = threading.Thread(target=_renew, args=(engine, batch, over), name="renew", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _renew(engine: Engine, batch: Batch, over: threading.Event) -> None:
    while not over.wait(RENEW_S):
        try:
            with transaction(engine) as session:
                session.execute(RENEW, {"lease": batch.lease, "span": LEASE})
        except Unavailable:
            log.warning("lease.not_renewed")
