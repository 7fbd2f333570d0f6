"""The statements of one group commit: idempotency keys first, then tickets, then what was there before.

Every statement sorts by key, so two API processes with the same keys wait for each other and do not deadlock.
"""

from base64 import b64encode
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.errors import InvalidTextRepresentation

from models.errors import InvalidRequest
from models.tables import KEY_LIFE
from service.intake.repeats import settle
from service.intake.submission import NewTicket, Receipt, Submission

Connection = AsyncConnection[Any]

READ_KEYS = """
    SELECT k.api_key_id, k.key, k.body_sha256, k.answer FROM idempotency_keys k
    JOIN unnest(%s::uuid[], %s::text[]) AS old (api_key_id, key) USING (api_key_id, key)"""
REUSED = "This Idempotency-Key was already used with another body; use a new key."
FORGOTTEN = (
    "Another number of tickets was taken under this Idempotency-Key, and one was erased or refused; use a new key."
)

COLUMNS = {
    "id": "uuid", "source": "text", "external_id": "text", "channel": "text", "language": "text", "requester": "text",
    "subject": "text", "body": "text", "repaired": "bool", "raw": "bytea", "content_sha256": "bytea",
    "details": "jsonb", "created_at": "timestamptz", "priority": "int", "shadow": "bool", "shadow_rate": "float8",
    "experiment": "text", "arm": "text",
}  # fmt: skip
NAMES = ", ".join(COLUMNS)
SENT = {"raw": "decode(raw, 'base64')", "content_sha256": "decode(content_sha256, 'base64')"}
_KEYS = """json_to_recordset(%(keys)s::json)
            AS new (api_key_id uuid, key text, body_sha256 text, answer jsonb)"""
_TICKETS = f"""json_to_recordset(%(tickets)s::json)
            AS new ({", ".join(f"{name} {'text' if name in SENT else kind}" for name, kind in COLUMNS.items())},
                    place int, claim text)"""
_INSERT_KEYS = "INSERT INTO idempotency_keys AS k (api_key_id, key, body_sha256, answer)"
_KEY = "api_key_id, key, decode(body_sha256, 'base64'), answer"
_INSERT_TICKETS = f"INSERT INTO tickets ({NAMES.replace('details', 'metadata')})"
_TICKET = ", ".join(SENT.get(name, name) for name in COLUMNS)
# Keys and tickets come as one JSON text each, which is written in a hundredth of the time that arrays of their columns
# take. All keys are claimed before the first ticket is written.

# Nearly always nothing was there before. One statement is then the whole transaction, and there and back once is all
# that a group waits for. Else it fails, in words that nobody who reads Postgres's log needs to worry about.
WRITE_NEW = f"""
    WITH claimed AS ({_INSERT_KEYS} SELECT {_KEY} FROM {_KEYS} ORDER BY 1, 2 ON CONFLICT DO NOTHING RETURNING 1),
    inserted AS (
        {_INSERT_TICKETS} SELECT {_TICKET} FROM {_TICKETS}
        WHERE (SELECT count(*) FROM claimed) >= 0
        ORDER BY source, external_id, place
        ON CONFLICT DO NOTHING
        RETURNING 1),
    found AS (SELECT %(rows)s - (SELECT count(*) FROM claimed) - (SELECT count(*) FROM inserted) AS old)
    SELECT CASE old WHEN 0 THEN 0 ELSE (old || ' of Triage''s rows were there before, which is no fault')::int END
    FROM found"""  # noqa: S608 (only our own names)
# Of several tickets with one key the first becomes the row and the others revise it, in their order.
WRITE_SOME = f"""
    WITH claimed AS (
        {_INSERT_KEYS} SELECT {_KEY} FROM {_KEYS} ORDER BY 1, 2
        ON CONFLICT (api_key_id, key) DO UPDATE
            SET body_sha256 = excluded.body_sha256, answer = excluded.answer, created_at = now()
            WHERE k.created_at < now() - interval '{KEY_LIFE}'
        RETURNING api_key_id || ' ' || key AS claim),
    inserted AS (
        {_INSERT_TICKETS} SELECT {_TICKET} FROM {_TICKETS}
        WHERE (SELECT count(*) FROM claimed) >= 0 AND (claim IS NULL OR claim IN (SELECT claim FROM claimed))
        ORDER BY source, external_id, place
        ON CONFLICT (source, external_id) DO NOTHING
        RETURNING id)
    SELECT (SELECT array_agg(claim) FROM claimed), (SELECT array_agg(id::text) FROM inserted)"""  # noqa: S608


async def write(connection: Connection, group: list[Submission], hoping: bool = True) -> bool:
    """Commits a group in one transaction and sets each submission's receipts, or its error for a reused key.

    Whoever is `hoping` that nothing of it was there before is quicker if so. Whether that was the case.
    """
    for submission in group:
        submission.receipts = [Receipt(str(ticket.id), "queued") for ticket in submission.tickets]
        submission.refused, submission.error = submission.bad, None
    keyed = {_claim(s): s for s in group if s.key is not None}
    given = {"keys": _keys(keyed), "tickets": _tickets(group)}
    if hoping and await _all_new(connection, given, len(keyed) + sum(len(s.tickets) for s in group)):
        return True
    async with connection.transaction():
        return await _write_some(connection, group, keyed, given)


async def _all_new(connection: Connection, given: dict[str, str], rows: int) -> bool:
    """Writes everything, or nothing if some of it was there before."""
    try:
        await connection.execute(WRITE_NEW, given | {"rows": rows})
    except InvalidTextRepresentation:
        return False
    return True


async def _write_some(
    connection: Connection, group: list[Submission], keyed: dict[str | None, Submission], given: dict[str, str]
) -> bool:
    """Writes what was not there before, and finds out what became of the rest, if there is any."""
    cursor = await connection.execute(WRITE_SOME, given)
    claimed, inserted = (set(found or ()) for found in await cursor.fetchone() or ((), ()))
    old = {claim: submission for claim, submission in keyed.items() if claim not in claimed}
    if old:
        await _replay(connection, old)
    repeated = await settle(connection, [s for s in group if _claim(s) not in old], inserted)
    return not (old or repeated)


def _claim(submission: Submission) -> str | None:
    """Whose key it is, and which; a client's key may hold anything, an id no space."""
    return submission.key and f"{submission.key[0]} {submission.key[1]}"


def _keys(keyed: dict[str | None, Submission]) -> str:
    return orjson.dumps(
        [
            {
                "api_key_id": s.api_key_id,
                "key": s.idempotency_key,
                "body_sha256": b64encode(s.body_sha256).decode(),
                "answer": s.answer,
            }
            for s in keyed.values()
        ]
    ).decode()


def _tickets(group: list[Submission]) -> str:
    sent = ((_sent(ticket), _claim(submission)) for submission in group for ticket in submission.tickets)
    return orjson.dumps([row | {"place": place, "claim": claim} for place, (row, claim) in enumerate(sent)]).decode()


async def _replay(connection: Connection, old: dict[str | None, Submission]) -> None:
    """The first answer for submissions that are repeats, or the error that the key was reused."""
    keys = [submission.key for submission in old.values() if submission.key is not None]
    cursor = await connection.execute(READ_KEYS, ([key[0] for key in keys], [key[1] for key in keys]))
    for api_key_id, key, body_sha256, answer in await cursor.fetchall():
        submission = old[f"{api_key_id} {key}"]
        submission.receipts = [Receipt(**receipt) for receipt in answer["receipts"]]
        submission.refused = answer.get("refused", submission.bad)  # releases before kept no places
        if (why := _unlike(submission, bytes(body_sha256))) is not None:
            submission.receipts = []
            submission.error = InvalidRequest(why)


def _unlike(submission: Submission, body_sha256: bytes) -> str | None:
    """Why the first answer is none to this submission.

    No hash is kept of an erased ticket: what came under its key is not known any more, but how much it was.
    """
    if body_sha256 and body_sha256 != submission.body_sha256:
        return REUSED
    answered = len(submission.receipts) + len(submission.refused)
    return None if answered == len(submission.tickets) + len(submission.bad) else FORGOTTEN


def _sent(ticket: NewTicket) -> dict[str, Any]:
    """A row as JSON: bytes in base64, `details` as the JSON that it is."""
    return ticket._asdict() | {
        "raw": b64encode(ticket.raw).decode(),
        "content_sha256": b64encode(ticket.content_sha256).decode(),
        "details": orjson.Fragment(ticket.details),
    }
