"""Erasing what a ticket says and who said it; what was said of it stays. Called by the API and the pages."""

import os
from uuid import UUID

import structlog
from sqlalchemy import Engine, text

from models.db import transaction
from models.errors import NotFound
from models.tables import Ticket

log = structlog.get_logger()
OPEN = "It was erased before it was classified."

# The hash of a short text tells the text to whoever tries some. With a salt that nobody keeps it does not, and verdicts
# still belong to the text that they were given on.
_SALTED = "content_sha256 = sha256(CAST(:salt AS bytea) || content_sha256)"
_NO_TEXT = f"subject = '', body = '', raw = '', {_SALTED}"
# Without its lease a ticket is not its worker's any more, which then writes nothing of it.
ERASE = text(f"""
    UPDATE tickets SET {_NO_TEXT}, requester = NULL, language = NULL, channel = NULL, metadata = '{{}}',
        erased_at = now(), lease_id = NULL, lease_until = NULL,
        status = CASE WHEN status = 'failed' THEN 'failed' ELSE 'done' END,
        last_error = CASE WHEN status IN ('queued', 'working') THEN :open ELSE last_error END,
        done_at = CASE WHEN status IN ('queued', 'working') THEN clock_timestamp() ELSE done_at END
    WHERE id = :id AND erased_at IS NULL RETURNING id""")  # noqa: S608 (only our own words)
REVISIONS = text(f"UPDATE revisions SET {_NO_TEXT} WHERE ticket_id = :id")  # noqa: S608
VERDICTS = text(f"UPDATE verdicts SET {_SALTED} WHERE ticket_id = :id")  # noqa: S608
# In the order in which the door locks them.
BODIES = text("""
    UPDATE idempotency_keys SET body_sha256 = '' WHERE (api_key_id, key) IN (
        SELECT api_key_id, key FROM idempotency_keys
        WHERE answer @> jsonb_build_object('receipts', jsonb_build_array(jsonb_build_object('id', CAST(:id AS text))))
        ORDER BY api_key_id, key FOR UPDATE)""")


def erase(engine: Engine, ticket_id: UUID) -> Ticket:
    """Erases it for good; a second time changes nothing. Raises NotFound."""
    given = {"id": ticket_id, "salt": os.urandom(32)}
    with transaction(engine) as session:
        if erased := session.execute(ERASE, given | {"open": OPEN}).first() is not None:
            session.execute(REVISIONS, given)
            session.execute(VERDICTS, given)
        ticket = session.get(Ticket, ticket_id)
    if ticket is None:
        raise NotFound(f"There is no ticket {ticket_id}.")
    with transaction(engine) as session:  # apart, because the door locks keys before tickets
        session.execute(BODIES, {"id": str(ticket_id)})
    if erased:
        log.info("ticket.erased", ticket=str(ticket_id))
    return ticket
