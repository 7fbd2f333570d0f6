"""Deleting old tickets with all that was said of them, batch by batch. Called by `triage retention`."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, text

from models.db import transaction

BATCH = 10_000
CHILDREN = ("verdicts", "triages", "predictions", "revisions")
FIRST = ("-infinity", UUID(int=0))

BEFORE = text("SELECT now() - make_interval(months => :months)")
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
    """So many months ago by the database's clock."""
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
    while True:
        given = {"before": before, "received_at": last[0], "id": last[1], "most": BATCH}
        with transaction(engine) as session:
            batch = session.execute(LOCK, given).all()
            for statement in DELETE:
                session.execute(statement, {"ids": [row.id for row in batch]})
        if not batch:
            return
        yield len(batch)
        last = (batch[-1].received_at, batch[-1].id)
