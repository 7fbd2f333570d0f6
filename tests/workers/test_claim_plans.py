"""With a long queue a claim reads what it takes, and no more: it is made for every batch."""

import pytest
from sqlalchemy import Engine, text

from models.tables import new_id
from workers.claim import CLAIM_BATCH, CLAIM_SUSPECT, LEASE

QUEUED = 50_000
TICKETS = """
    INSERT INTO tickets (id, source, subject, body, raw, content_sha256, shadow, shadow_rate)
    SELECT gen_random_uuid(), 'api', '', 'x', '', '', false, 0 FROM generate_series(1, :rows)"""


@pytest.fixture(scope="module")
def queue(module_database: Engine) -> Engine:
    with module_database.begin() as connection:
        connection.execute(text(TICKETS), {"rows": QUEUED})
    with module_database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE tickets"))
    return module_database


@pytest.mark.parametrize(("claim", "taken"), [(CLAIM_SUSPECT, 0), (CLAIM_BATCH, 64)])
def test_a_claim_reads_what_it_takes(queue: Engine, claim: text, taken: int) -> None:
    with queue.connect() as connection:
        given = {"lease": new_id(), "span": LEASE, "most": 64}
        (plan,) = connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {claim}"), given).scalar_one()
        connection.rollback()
    scans = [node for node in nodes(plan["Plan"]) if "Scan" in node["Node Type"] and node.get("Relation Name")]
    assert scans
    assert not [node for node in scans if node["Node Type"] == "Seq Scan"]
    assert all(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) <= taken for node in scans)


def nodes(found: dict):
    yield found
    for child in found.get("Plans", []):
        yield from nodes(child)
