"""The lease on a batch of tickets: claim, renew, give back. Every time here is the database's clock.

A claimed ticket is `working` and carries a lease id. Whoever holds the id may write; an expired lease is claimed anew
under another id, so a worker that was frozen finds that nothing is its own any more. Used by drain and settle.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import Engine, text

from models.db import transaction
from models.errors import Unavailable
from models.tables import new_id
from service.outage import Outage
from workers.figures import Figures
from workers.sweep import PRIORITIES, Marks, Reach, sweep

log = structlog.get_logger()
LEASE = "60 seconds"
RENEW_S = 20.0
AGAIN_S = 2.0  # while Postgres is away
LONGEST_S = 600.0

CLAIM = """
    UPDATE tickets SET status = 'working', lease_id = :lease, lease_until = now() + CAST(:span AS interval),
        claimed_at = clock_timestamp()
    WHERE id = ANY(ARRAY({which}))
    RETURNING id, run, subject, body, shadow, experiment, arm, attempts"""
# A ticket whose worker was lost is claimed alone and first: if it kills workers, it kills no neighbours' work.
SUSPECTS = text("SELECT EXISTS (SELECT FROM tickets WHERE status = 'queued' AND due_at <= now() AND lost_leases > 0)")
CLAIM_SUSPECT = text(
    CLAIM.format(
        which="""SELECT id FROM tickets WHERE status = 'queued' AND due_at <= now() AND lost_leases > 0
                 ORDER BY priority, due_at LIMIT 1 FOR UPDATE SKIP LOCKED"""
    )
)
# Priority after priority, each from its mark on; of the next one nothing is read while this one has enough.
CLAIM_BATCH = text(
    CLAIM.format(
        which="""SELECT due.id FROM unnest(CAST(:priorities AS int[]), CAST(:since AS timestamptz[]))
                     AS mark (priority, since),
                 LATERAL (SELECT id FROM tickets WHERE status = 'queued' AND lost_leases = 0
                              AND priority = mark.priority AND due_at BETWEEN mark.since AND now()
                          ORDER BY due_at LIMIT :most FOR UPDATE SKIP LOCKED) AS due
                 LIMIT :most"""
    )
)
# The status is what its index is for: a lease has none of its own.
RENEW = text("""
    UPDATE tickets SET lease_until = now() + CAST(:span AS interval) WHERE lease_id = :lease AND status = 'working'""")
# With an error it was begun, and its worker has survived it.
GIVE_BACK = text("""
    UPDATE tickets SET status = 'queued', lease_id = NULL, lease_until = NULL,
        due_at = CASE WHEN :delay_s > 0 THEN now() + make_interval(secs => :delay_s) ELSE due_at END,
        last_error = :error, lost_leases = CASE WHEN CAST(:error AS text) IS NULL THEN lost_leases ELSE 0 END
    WHERE id = ANY(:ids) AND lease_id = :lease""")


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker needs to know of a ticket."""

    id: UUID
    run: int
    subject: str
    body: str
    shadow: bool
    experiment: str | None
    arm: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Tickets under one lease. A `suspect` lost its worker before, and must have this one to itself.

    The lease is renewed `until` then, by this process's own clock.
    """

    lease: UUID
    tickets: list[Claimed]
    suspect: bool = False
    until: float = field(default_factory=lambda: time.monotonic() + LONGEST_S)


def claim(
    engine: Engine,
    most: int,
    *,
    busy: bool = False,
    slow: bool = False,
    marks: Marks | None = None,
    reach: Reach | None = None,
    figures: Figures | None = None,
) -> Batch:
    """Up to `most` due tickets, urgent and old ones first, from the `marks` on; without such it sweeps.

    A ticket that lost a worker is claimed alone, so that its neighbours do not die with it: a `busy` worker gets
    nothing while there is one, and one with `slow` calls, which may take minutes, passes it by.
    """
    if marks is None or marks.old:
        marks = sweep(engine, figures, reach)
    lease = new_id()
    given = {"lease": lease, "span": LEASE}
    with transaction(engine) as session:
        waits = busy and not slow and session.scalar(SUSPECTS)
        suspects = [] if busy or slow else session.execute(CLAIM_SUSPECT, given).all()
        wanted = given | {"most": most, "priorities": PRIORITIES, "since": marks.since}
        rows = suspects or ([] if waits else session.execute(CLAIM_BATCH, wanted).all())
    return Batch(lease, [Claimed(*row) for row in rows], suspect=bool(suspects))


def give_back(engine: Engine, batch: Batch, ids: list[UUID], *, delay_s: float = 0.0, error: str | None = None) -> None:
    """Puts tickets of the batch back where they stood in the queue, or to rest for a while; costs them no attempt.

    The `error` is why they were not done.
    """
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
    """For at most LONGEST_S: what hangs longer goes to another worker."""
    pause, outage = RENEW_S, Outage()
    while not over.wait(pause) and time.monotonic() < batch.until:
        pause = RENEW_S
        try:
            with transaction(engine) as session:
                session.execute(RENEW, {"lease": batch.lease, "span": LEASE})
        except Unavailable:
            pause = AGAIN_S
            if outage.lasts():
                log.warning("lease.not_renewed")
