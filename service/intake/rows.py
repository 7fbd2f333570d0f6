"""The statements of one group commit: idempotency keys first, then tickets, then what was there before.

Every statement sorts by key, so two API processes with the same keys wait for each other and do not deadlock.
"""

import dataclasses
from base64 import b64encode
from typing import Any
from uuid import UUID

import orjson
from psycopg import AsyncConnection
from psycopg.errors import SerializationFailure

from models.errors import InvalidRequest
from service.intake.submission import NewTicket, Receipt, Submission

Connection = AsyncConnection[Any]
KEY_LIFE = "24 hours"

CLAIM_KEYS = """
    INSERT INTO idempotency_keys AS k (api_key_id, key, body_sha256, answer)
    SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bytea[], %s::jsonb[]) AS new (api_key_id, key, body_sha256, answer)
    ORDER BY 1, 2
    ON CONFLICT (api_key_id, key) DO UPDATE
        SET body_sha256 = excluded.body_sha256, answer = excluded.answer, created_at = now()
        WHERE k.created_at < now() - %s::interval
    RETURNING api_key_id, key"""
READ_KEYS = """
    SELECT k.api_key_id, k.key, k.body_sha256, k.answer FROM idempotency_keys k
    JOIN unnest(%s::uuid[], %s::text[]) AS old (api_key_id, key) USING (api_key_id, key)"""
AMEND_KEY = """
    UPDATE idempotency_keys SET answer = %s::jsonb, body_sha256 = CASE WHEN %s THEN '' ELSE body_sha256 END
    WHERE api_key_id = %s AND key = %s"""
REUSED = "This Idempotency-Key was already used with another body; use a new key."
FORGOTTEN = (
    "A ticket first sent under this Idempotency-Key was erased, and these are not as many tickets; use a new key."
)

COLUMNS = {
    "id": "uuid", "source": "text", "external_id": "text", "channel": "text", "language": "text", "requester": "text",
    "subject": "text", "body": "text", "repaired": "bool", "raw": "bytea", "content_sha256": "bytea",
    "details": "jsonb", "created_at": "timestamptz", "priority": "int", "shadow": "bool", "shadow_rate": "float8",
    "experiment": "text", "arm": "text",
}  # fmt: skip
NAMES = ", ".join(COLUMNS)
SENT = {"raw": "decode(raw, 'base64')", "content_sha256": "decode(content_sha256, 'base64')"}
# As one JSON text, which is written in a hundredth of the time that arrays of their columns take.
# Of several tickets with one key the first becomes the row and the others revise it, in their order.
INSERT_TICKETS = f"""
    INSERT INTO tickets ({NAMES.replace("details", "metadata")})
    SELECT {", ".join(SENT.get(name, name) for name in COLUMNS)} FROM json_to_recordset(%s::json)
        AS new ({", ".join(f"{name} {'text' if name in SENT else kind}" for name, kind in COLUMNS.items())}, place int)
    ORDER BY source, external_id, place
    ON CONFLICT (source, external_id) DO NOTHING
    RETURNING id"""  # noqa: S608 (only our own column names)
LOCK_TICKET = """
    SELECT id, status, content_sha256, erased_at IS NOT NULL FROM tickets
    WHERE source = %s AND external_id = %s FOR UPDATE"""
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


async def write(connection: Connection, group: list[Submission]) -> None:
    """Commits a group in one transaction and sets each submission's receipts, or its error for a reused key."""
    for submission in group:
        submission.receipts = [Receipt(str(ticket.id), "queued") for ticket in submission.tickets]
        submission.error = None
    async with connection.transaction():
        fresh = await _claim_keys(connection, group)
        inserted = await _insert([t for s in fresh for t in s.tickets], connection)
        await _settle(connection, fresh, inserted)


async def _claim_keys(connection: Connection, group: list[Submission]) -> list[Submission]:
    """The submissions that are not repeats; the others get the first answer, or the error that the key was reused."""
    keyed = {s.key: s for s in group if s.key is not None}
    if not keyed:
        return group
    ids, names = [k[0] for k in keyed], [k[1] for k in keyed]
    hashes = [s.body_sha256 for s in keyed.values()]
    answers = [_answer(s) for s in keyed.values()]
    cursor = await connection.execute(CLAIM_KEYS, (ids, names, hashes, answers, KEY_LIFE))
    new = {(row[0], row[1]) for row in await cursor.fetchall()}
    old = [key for key in keyed if key not in new]
    if old:
        await _replay(connection, keyed, old)
    return [s for s in group if s.key is None or s.key in new]


async def _replay(
    connection: Connection, keyed: dict[tuple[UUID, str], Submission], old: list[tuple[UUID, str]]
) -> None:
    cursor = await connection.execute(READ_KEYS, ([k[0] for k in old], [k[1] for k in old]))
    for api_key_id, key, body_sha256, answer in await cursor.fetchall():
        submission = keyed[api_key_id, key]
        submission.receipts = [Receipt(**receipt) for receipt in answer["receipts"]]
        if bytes(body_sha256) == submission.body_sha256:
            continue
        # No hash is kept of an erased ticket: what came under its key is not known any more, but how much it was.
        if body_sha256 or len(submission.receipts) != len(submission.tickets):
            submission.receipts = []
            submission.error = InvalidRequest(REUSED if body_sha256 else FORGOTTEN)


async def _insert(tickets: list[NewTicket], connection: Connection) -> set[UUID]:
    """Ids of the tickets that became rows; the others share (source, external_id) with an existing row."""
    if not tickets:
        return set()
    rows = orjson.dumps([_sent(ticket) | {"place": place} for place, ticket in enumerate(tickets)])
    cursor = await connection.execute(INSERT_TICKETS, (rows.decode(),))
    return {row[0] for row in await cursor.fetchall()}


def _sent(ticket: NewTicket) -> dict[str, Any]:
    """A row as JSON: bytes in base64, `details` as the JSON that it is."""
    bytes_ = {name: b64encode(getattr(ticket, name)).decode() for name in SENT}
    return {name: getattr(ticket, name) for name in COLUMNS} | bytes_ | {"details": orjson.Fragment(ticket.details)}


async def _settle(connection: Connection, fresh: list[Submission], inserted: set[UUID]) -> None:
    """Turns tickets that were there before into duplicates or new runs, and the stored answers with them."""
    repeated = [(s, i) for s in fresh for i, ticket in enumerate(s.tickets) if ticket.id not in inserted]
    # These rows are locked one by one, so the order of keys must hold over the whole group.
    forgotten = set()
    for submission, i in sorted(repeated, key=_ticket_key):
        submission.receipts[i], erased = await _repeat(connection, submission.tickets[i])
        if erased:
            forgotten.add(submission.key)
    for submission in {id(s): s for s, _ in repeated}.values():
        if submission.key is not None:
            await connection.execute(AMEND_KEY, (_answer(submission), submission.key in forgotten, *submission.key))


def _ticket_key(place: tuple[Submission, int]) -> tuple[str, str]:
    submission, i = place
    ticket = submission.tickets[i]
    return ticket.source, ticket.external_id or ""


async def _repeat(connection: Connection, ticket: NewTicket) -> tuple[Receipt, bool]:
    """What became of a ticket that was there before, and whether it is erased."""
    cursor = await connection.execute(LOCK_TICKET, (ticket.source, ticket.external_id))
    row = await cursor.fetchone()
    if row is None:
        raise SerializationFailure("retention has deleted the ticket at this moment")  # so the group is written again
    old_id, status, content, erased = row
    if erased or bytes(content) == ticket.content_sha256:
        return Receipt(str(old_id), status, duplicate=True), erased
    await connection.execute(KEEP_REVISION, (old_id,))
    await connection.execute(REVISE, dataclasses.asdict(ticket) | {"old_id": old_id})
    return Receipt(str(old_id), "queued"), False


def _answer(submission: Submission) -> str:
    return orjson.dumps({"receipts": [dataclasses.asdict(r) for r in submission.receipts]}).decode()
