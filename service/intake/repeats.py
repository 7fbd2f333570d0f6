"""What becomes of tickets that were there before, inside their group's transaction; and which of them others hold.

Called by `rows` and by the writer.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from psycopg import AsyncConnection
from psycopg.errors import SerializationFailure

from service.intake.submission import NewTicket, Receipt, Submission

Connection = AsyncConnection[Any]
Name = tuple[str, str]

AMEND_KEY = """
    UPDATE idempotency_keys SET answer = %s::jsonb, body_sha256 = CASE WHEN %s THEN '' ELSE body_sha256 END
    WHERE api_key_id = %s AND key = %s"""
_NAMED = "tickets JOIN unnest(%(sources)s::text[], %(ids)s::text[]) AS sent (source, external_id)"
_NAMED += " USING (source, external_id)"
LOCK_TICKETS = f"""
    SELECT source, external_id, id, status, content_sha256, erased_at IS NOT NULL FROM {_NAMED}
    ORDER BY source, external_id FOR UPDATE OF tickets"""  # noqa: S608 (only our own words)
# Whoever holds a row has changed it, locked it, or will have deleted it: all of that keeps LOCK_TICKETS waiting.
HELD_TICKETS = f"""
    WITH free AS (SELECT id FROM {_NAMED} FOR UPDATE OF tickets SKIP LOCKED)
    SELECT source, external_id FROM {_NAMED} WHERE id NOT IN (SELECT id FROM free)"""  # noqa: S608
KEEP_REVISION = """
    INSERT INTO revisions (ticket_id, run, subject, body, raw, content_sha256)
    SELECT id, run, subject, body, raw, content_sha256 FROM tickets WHERE id = %s"""
REVISE = """
    UPDATE tickets SET subject = %(subject)s, body = %(body)s, raw = %(raw)s, repaired = %(repaired)s,
        content_sha256 = %(content_sha256)s, metadata = %(details)s::jsonb, language = %(language)s,
        channel = %(channel)s, requester = %(requester)s, created_at = %(created_at)s, priority = %(priority)s,
        run = run + 1, status = 'queued', queued_at = now(), due_at = now(), attempts = 0, lost_leases = 0,
        last_error = NULL, lease_id = NULL, lease_until = NULL, claimed_at = NULL, done_at = NULL
    WHERE id = %(old_id)s"""


class Stored(NamedTuple):
    """A ticket's row, locked."""

    id: str
    status: str
    content: bytes
    erased: bool


async def settle(connection: Connection, fresh: list[Submission], inserted: set[str]) -> bool:
    """Turns tickets that were there before into duplicates or new runs, and the stored answers with them.

    Whether there were any.
    """
    repeated = [(s, i) for s in fresh for i, ticket in enumerate(s.tickets) if str(ticket.id) not in inserted]
    if not repeated:
        return False
    stored = await _lock(connection, {_name(s.tickets[i]) for s, i in repeated})
    forgotten = set()
    for submission, i in repeated:
        ticket = submission.tickets[i]
        old = stored[_name(ticket)]
        submission.receipts[i], stored[_name(ticket)] = await _repeat(connection, ticket, old)
        if old.erased:
            forgotten.add(submission.key)
    for submission in {id(s): s for s, _ in repeated}.values():
        if submission.key is not None:
            answer = orjson.dumps(submission.answer).decode()
            await connection.execute(AMEND_KEY, (answer, submission.key in forgotten, *submission.key))
    return True


async def held(connection: Connection, group: list[Submission]) -> list[Submission]:
    """Those with a ticket whose row another transaction holds at this moment; what it adds cannot be seen."""
    names = {_name(ticket) for s in group for ticket in s.tickets if ticket.external_id is not None}
    cursor = await connection.execute(HELD_TICKETS, _columns(names), prepare=False)
    found = set(await cursor.fetchall())
    return [s for s in group if any(_name(ticket) in found for ticket in s.tickets)]


def _name(ticket: NewTicket) -> Name:
    return ticket.source, ticket.external_id or ""


def _columns(names: Iterable[Name]) -> dict[str, list[str]]:
    sent = sorted(names)
    return {"sources": [source for source, _ in sent], "ids": [external_id for _, external_id in sent]}


async def _lock(connection: Connection, names: set[Name]) -> dict[Name, Stored]:
    """All rows in one statement, so that nobody who waits for one waits for as many answers as there are others."""
    # Not prepared: a plan made when there were few tickets would be kept when there are many.
    cursor = await connection.execute(LOCK_TICKETS, _columns(names), prepare=False)
    found = {
        (source, external_id): Stored(str(id_), status, bytes(content), erased)
        for source, external_id, id_, status, content, erased in await cursor.fetchall()
    }
    if len(found) < len(names):
        raise SerializationFailure("retention has deleted the ticket at this moment")  # so the group is written again
    return found


async def _repeat(connection: Connection, ticket: NewTicket, old: Stored) -> tuple[Receipt, Stored]:
    """What became of a ticket that was there before, and its row from now on."""
    if old.erased or old.content == ticket.content_sha256:
        return Receipt(old.id, old.status, duplicate=True), old
    await connection.execute(KEEP_REVISION, (old.id,))
    await connection.execute(REVISE, ticket._asdict() | {"old_id": old.id})
    return Receipt(old.id, "queued"), Stored(old.id, "queued", ticket.content_sha256, False)
