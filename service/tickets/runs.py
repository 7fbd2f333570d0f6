"""Opening new runs of tickets, and putting failed ones back into the queue: one by API and pages, many by the commands.

Predictions, triages and verdicts of older runs stay as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, Select, TextClause, func, select, text
from sqlalchemy.orm import load_only

from models.db import transaction
from models.errors import Conflict, NotFound
from models.tables import BULK_PRIORITY, NOW, Ticket
from service.tickets.query import Filters, filtered
from service.tickets.shapes import cursor

BATCH = 1000
CHANGED, BUSY, ERASED = "changed", "busy", "erased"
_QUEUE = """status = 'queued', queued_at = now(), due_at = now(), attempts = 0, lost_leases = 0, last_error = NULL,
    claimed_at = NULL, done_at = NULL"""


class Way:
    """A way back into the queue: what it sets, and for which statuses.

    Tickets of another status are left alone, and so are erased ones.
    """

    def __init__(self, sets: str, statuses: str):
        these = f"status IN ({statuses}) AND erased_at IS NULL"
        self.one = text(f"UPDATE tickets SET {sets} WHERE id = :id AND {these}")  # noqa: S608
        # Rows that others have locked are passed over: waiting for them, many at once, could end in a deadlock.
        self.many = text(f"""
            WITH ours AS (SELECT id FROM tickets WHERE id = ANY(:ids) AND {these}
                          FOR UPDATE SKIP LOCKED),
            changed AS (UPDATE tickets SET {sets}, priority = greatest(priority, :priority) FROM ours
                        WHERE tickets.id = ours.id RETURNING tickets.id)
            SELECT CASE WHEN id IN (SELECT id FROM changed) THEN '{CHANGED}'
                        WHEN erased_at IS NOT NULL THEN '{ERASED}'
                        WHEN {these} THEN '{BUSY}' ELSE status END, count(*)
            FROM tickets WHERE id = ANY(:ids) GROUP BY 1""")  # noqa: S608 (only our own words)


RECLASSIFY = Way(f"run = run + 1, {_QUEUE}", "'done', 'failed'")
REQUEUE = Way(_QUEUE, "'failed'")


def reclassify(engine: Engine, ticket_id: UUID) -> Ticket:
    """Opens the next run; a ticket that waits or is being classified is left as it is.

    Raises NotFound, or Conflict if it is erased.
    """
    return _changed(engine, ticket_id, RECLASSIFY.one)


def requeue(engine: Engine, ticket_id: UUID) -> Ticket:
    """Gives a failed ticket its attempts back, in the same run; others are left as they are. Raises as `reclassify`."""
    return _changed(engine, ticket_id, REQUEUE.one)


def _changed(engine: Engine, ticket_id: UUID, statement: TextClause) -> Ticket:
    with transaction(engine) as session:
        session.execute(statement, {"id": ticket_id})
        ticket = session.get(Ticket, ticket_id)
        if ticket is None:
            raise NotFound(f"There is no ticket {ticket_id}.")
        if ticket.erased_at is not None:
            raise Conflict(f"The ticket {ticket_id} is erased, so there is nothing to classify.")
        return ticket


@dataclass(frozen=True, slots=True)
class Selection:
    """The tickets that a command means; `queued_before` leaves out those that came into the queue again since."""

    filters: Filters
    ticket_id: UUID | None = None
    queued_before: datetime | None = None

    def query(self, after: Ticket | None = None) -> Select[Ticket]:
        """All of them, or those behind one of them."""
        place = {"cursor": cursor(after)} if after is not None else {}
        query = filtered(self.filters.model_copy(update=place))
        if self.ticket_id is not None:
            query = query.where(Ticket.id == self.ticket_id)
        return query if self.queued_before is None else query.where(Ticket.queued_at < self.queued_before)


def count(engine: Engine, selection: Selection) -> tuple[dict[str, int], datetime]:
    """How many tickets are meant, by status, and when that was by the database's clock."""
    by_status = selection.query().with_only_columns(Ticket.status, func.count()).order_by(None).group_by(Ticket.status)
    with transaction(engine) as session:
        found = dict(session.execute(by_status).all())
        return found, session.execute(select(NOW)).scalar_one()


def queue_again(engine: Engine, selection: Selection, way: Way) -> Iterator[dict[str, int]]:
    """Puts them into the queue, a batch in a transaction; after each: how many were changed, or why they were not.

    Behind new tickets, if it is more than one. Whoever stops in the middle may begin again: what waits is left alone.
    """
    priority = 0 if selection.ticket_id else BULK_PRIORITY
    last: Ticket | None = None
    while True:
        with transaction(engine) as session:
            only = load_only(Ticket.id, Ticket.received_at)
            batch = list(session.scalars(selection.query(last).options(only).limit(BATCH)))
            given = {"ids": [ticket.id for ticket in batch], "priority": priority}
            found: dict[str, int] = dict(session.execute(way.many, given).all()) if batch else {}
        if not batch:
            return
        yield found
        last = batch[-1]
