"""With a long queue a claim reads what it takes, and no more, beside a backup too: it is made for every batch."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from models.tables import new_id
from workers.claim import CLAIM_BATCH, CLAIM_SUSPECT, LEASE
from workers.sweep import PRIORITIES, sweep

QUEUED, CLAIMED = 20_000, 15_000
TICKETS = """
    INSERT INTO tickets (id, source, subject, body, raw, content_sha256, shadow, shadow_rate, due_at)
    SELECT gen_random_uuid(), 'api', '', 'x', '', '', false, 0, now() - (:rows - i) * interval '1 millisecond'
    FROM generate_series(1, :rows) i"""
CLAIMED_SINCE = """
    UPDATE tickets SET status = 'working', lease_id = id, lease_until = now() + interval '1 hour'
    WHERE id = ANY(ARRAY(SELECT id FROM tickets ORDER BY due_at LIMIT :rows))"""


@pytest.fixture(scope="module")
def queue(module_database: Engine) -> Iterator[Engine]:
    """Most of it was claimed since a transaction began that is still open, so that nothing of that may be removed."""
    with module_database.begin() as connection:
        connection.execute(text(TICKETS), {"rows": QUEUED})
    with module_database.connect().execution_options(isolation_level="REPEATABLE READ") as held:
        held.execute(text("SET idle_in_transaction_session_timeout = 0"))
        held.execute(text("SELECT count(*) FROM workers"))
        with module_database.begin() as connection:
            connection.execute(text(CLAIMED_SINCE), {"rows": CLAIMED})
        with module_database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE tickets"))
        yield module_database


@pytest.mark.parametrize(("claim", "taken"), [(CLAIM_SUSPECT, 0), (CLAIM_BATCH, 64)])
def test_a_claim_reads_what_it_takes(queue: Engine, claim: text, taken: int) -> None:
    given = {"lease": new_id(), "span": LEASE, "most": 64, "priorities": PRIORITIES, "since": sweep(queue).since}
    with queue.connect() as connection:
        plan = explained(connection, claim, given)
    scans = [node for node in nodes(plan) if "Scan" in node["Node Type"] and node.get("Relation Name")]
    assert scans
    assert not [node for node in scans if node["Node Type"] == "Seq Scan"]
    assert all(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) <= taken for node in scans)


def test_what_was_claimed_since_the_backup_began_is_not_passed_again(queue: Engine) -> None:
    """Each entry of the index costs a look at a page of the table."""
    given = {"lease": new_id(), "span": LEASE, "most": 1, "priorities": PRIORITIES}
    whole = [sweep(queue).since[0].replace(year=2000)] * len(PRIORITIES)
    with queue.connect() as connection:
        before, after = (
            pages(explained(connection, CLAIM_BATCH, given | {"since": since})) for since in (whole, sweep(queue).since)
        )
    assert 50 * after < before


def explained(connection: Connection, claim: text, given: dict[str, Any]) -> dict[str, Any]:
    """The plan of a claim that is rolled back."""
    (plan,) = connection.execute(text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claim}"), given).scalar_one()
    connection.rollback()
    return plan["Plan"]


def pages(plan: dict[str, Any]) -> int:
    """How many were read where the index of due tickets was."""
    return sum(
        node["Shared Hit Blocks"] + node["Shared Read Blocks"]
        for node in nodes(plan)
        if node.get("Index Name") == "ix_tickets_due"
    )


def nodes(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield found
    for child in found.get("Plans", []):
        yield from nodes(child)
