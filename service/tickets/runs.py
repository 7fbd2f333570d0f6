"""Opening a new run of a ticket, and putting a failed one back into the queue. Called by the API and the pages."""

from uuid import UUID

from sqlalchemy import Engine, TextClause, text

from models.db import transaction
from models.errors import NotFound
from models.tables import Ticket

_QUEUE = """status = 'queued', queued_at = now(), due_at = now(), attempts = 0, lost_leases = 0, last_error = NULL,
    claimed_at = NULL, done_at = NULL"""
RECLASSIFY = text(f"UPDATE tickets SET run = run + 1, {_QUEUE} WHERE id = :id AND status IN ('done', 'failed')")  # noqa: S608
REQUEUE = text(f"UPDATE tickets SET {_QUEUE} WHERE id = :id AND status = 'failed'")  # noqa: S608


def reclassify(engine: Engine, ticket_id: UUID) -> Ticket:
    """Opens the next run; a ticket that waits or is being classified is left as it is. Raises NotFound."""
    return _changed(engine, ticket_id, RECLASSIFY)


def requeue(engine: Engine, ticket_id: UUID) -> Ticket:
    """Gives a failed ticket its attempts back, in the same run; any other is left as it is. Raises NotFound."""
    return _changed(engine, ticket_id, REQUEUE)


def _changed(engine: Engine, ticket_id: UUID, statement: TextClause) -> Ticket:
    with transaction(engine) as session:
        session.execute(statement, {"id": ticket_id})
        ticket = session.get(Ticket, ticket_id)
        if ticket is None:
            raise NotFound(f"There is no ticket {ticket_id}.")
        return ticket
