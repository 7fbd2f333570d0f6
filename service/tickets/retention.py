"""Deleting old tickets with all that was said of them, batch by batch. Called by `triage retention`.

What they were counted as stays in reports: each batch freezes its hours and is deleted in one transaction.
"""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from models.db import transaction
from service.experiments.rollups.freeze import drop_marks, freeze
from service.experiments.rollups.roll import one_at_a_time, roll

BATCH = 10_000
CHILDREN = ("verdicts", "triages", "predictions", "revisions")
FIRST = ("-infinity", UUID(int=0))

ROLL_S = 3600.0
# Whole hours, so that the counts of an hour are of all its tickets.
BEFORE = text("SELECT date_trunc('hour', now() - make_interval(months => :months), 'UTC')")
# A ticket on its way is owed a result, and goes the next time.
ENDED = "status IN ('done', 'failed')"
COUNT = text(f"""
    SELECT count(*) FILTER (WHERE {ENDED}), count(*) FILTER (WHERE NOT {ENDED})
    FROM tickets WHERE received_at < :before""")  # noqa: S608 (only our own words)
# By key, so that no batch looks through what the one before has deleted. Rows that others hold are passed over, because
# waiting for several could end in a deadlock.
LOCK = text(f"""
    SELECT received_at, id FROM tickets
    WHERE received_at < :before AND {ENDED} AND (received_at, id) > (CAST(:received_at AS timestamptz), :id)
    ORDER BY received_at, id LIMIT :most FOR UPDATE SKIP LOCKED""")  # noqa: S608
DELETE = [text(f"DELETE FROM {table} WHERE ticket_id = ANY(:ids)") for table in CHILDREN]  # noqa: S608
DELETE += [text("DELETE FROM tickets WHERE id = ANY(:ids)")]


def limit(engine: Engine, months: int) -> datetime:
    """The full hour so many months ago by the database's clock."""
    with transaction(engine) as session:
        found: datetime = session.execute(BEFORE, {"months": months}).scalar_one()
        return found


def count(engine: Engine, before: datetime) -> tuple[int, int]:
    """Tickets received before that time: those that can be deleted, and those still on their way."""
    with transaction(engine) as session:
        ended, on_their_way = session.execute(COUNT, {"before": before}).one()
        return ended, on_their_way


def delete_old(engine: Engine, before: datetime) -> Iterator[int]:
    """Deletes them, a batch in a transaction; after each, how many. Whoever stops in the middle may begin again."""
    last: tuple[datetime | str, UUID] = FIRST
    roll(engine, ROLL_S, until=before)
    while True:
        given = {"before": before, "received_at": last[0], "id": last[1], "most": BATCH}
        with transaction(engine) as session:
            one_at_a_time(session)
            batch = session.execute(LOCK, given).all()
            if batch:
                freeze(session, batch[-1].received_at)
                _delete(session, [row.id for row in batch])
        if not batch:
            return
        yield len(batch)
        last = (batch[-1].received_at, batch[-1].id)


def _delete(session: Session, ids: list[UUID]) -> None:
    for statement in DELETE:
        session.execute(statement, {"ids": ids})
    drop_marks(session)
