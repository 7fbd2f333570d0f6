"""Leases: who holds one may write, who lost it may not, and the queue keeps its order."""

from uuid import uuid4

import pytest

from workers.claim import claim, give_back
from workers.figures import Figures
from workers.record import reject


@pytest.fixture
def queued(client):
    """Ten tickets: eight of a batch, then two single ones."""
    batch = client.post("/v1/tickets/batch", json={"tickets": [{"body": str(i)} for i in range(8)]})
    single = [client.post("/v1/tickets", json={"body": f"s{i}"}).json()["id"] for i in range(2)]
    return [item["id"] for item in batch.json()["items"]] + single


def test_single_tickets_go_before_imports(database, queued):
    assert [t.body for t in sorted(claim(database, 2).tickets, key=lambda t: t.body)] == ["s0", "s1"]
    assert {t.body for t in claim(database, 100).tickets} == {str(i) for i in range(8)}
    assert claim(database, 100).tickets == []


def test_who_waits_for_an_answer_goes_before_an_import_that_came_first(client, database, queued, sql):
    waiting = client.post("/v1/tickets", params={"wait": 0.01}, json={"body": "answer me"})
    assert waiting.status_code == 202
    sql("UPDATE tickets SET due_at = due_at - interval '1 hour' WHERE id::text <> %s", waiting.json()["id"])
    first, rest = claim(database, 3).tickets, claim(database, 100).tickets
    assert {ticket.body for ticket in first} == {"s0", "s1", "answer me"}
    assert {ticket.body for ticket in rest} == {str(i) for i in range(8)}


def test_a_claim_is_a_lease_of_a_minute_by_the_databases_clock(database, queued, sql):
    batch = claim(database, 3)
    rows = sql("SELECT id, lease_id, lease_until - now() FROM tickets WHERE status = 'working'")
    assert {row[0] for row in rows} == {ticket.id for ticket in batch.tickets}
    assert {row[1] for row in rows} == {batch.lease}
    assert all(55 < row[2].total_seconds() <= 60 for row in rows)


def test_a_ticket_is_not_due_before_its_time(database, queued, sql):
    sql("UPDATE tickets SET due_at = now() + interval '1 hour'")
    assert claim(database, 100).tickets == []
    sql("UPDATE tickets SET due_at = now() - interval '1 second' WHERE id = %s", queued[3])
    assert [str(t.id) for t in claim(database, 100).tickets] == [queued[3]]


def test_an_expired_lease_is_claimed_anew_under_another_id(database, queued, sql):
    first = claim(database, 100)
    assert claim(database, 100).tickets == []
    sql("UPDATE tickets SET lease_until = now() - interval '1 second' WHERE id = %s", queued[0])
    second = claim(database, 100)
    assert [str(t.id) for t in second.tickets] == [queued[0]]
    assert second.lease != first.lease


def test_a_ticket_whose_worker_was_lost_is_claimed_alone_and_fails_the_third_time(database, queued, sql):
    for lost in (1, 2, 3):
        alone = [] if lost == 1 else claim(database, 100).tickets
        assert [str(t.id) for t in alone] == ([] if lost == 1 else [queued[0]])
        if lost == 1:
            claim(database, 100)
        sql("UPDATE tickets SET lease_until = now() - interval '1 second' WHERE id = %s", queued[0])
    assert claim(database, 100).tickets == []
    ((status, attempts, lost, reason),) = sql(
        "SELECT status, attempts, lost_leases, last_error FROM tickets WHERE id = %s", queued[0]
    )
    assert (status, attempts, lost) == ("failed", 0, 3)
    assert "died or froze" in reason
    assert sql("SELECT count(*) FROM tickets WHERE status = 'working'") == [(9,)]


def test_giving_back_costs_no_attempt_and_needs_the_lease(database, queued, sql):
    batch = claim(database, 10)
    ids = [ticket.id for ticket in batch.tickets]
    stranger = type(batch)(uuid4(), batch.tickets)
    give_back(database, stranger, ids)
    assert sql("SELECT count(*) FROM tickets WHERE status = 'working'") == [(10,)]
    give_back(database, batch, ids[:4])
    give_back(database, batch, ids[4:], delay_s=60, error="engine away")
    rows = sql("SELECT status, attempts, lease_id, last_error, due_at > now() FROM tickets ORDER BY due_at")
    assert rows == [("queued", 0, None, None, False)] * 4 + [("queued", 0, None, "engine away", True)] * 6


def refuse(database, batch):
    reject(database, batch.lease, batch.tickets[0], "too long", Figures())


def given_back(error):
    return lambda database, batch: give_back(database, batch, [batch.tickets[0].id], error=error)


@pytest.mark.parametrize(("end", "lost"), [(refuse, 0), (given_back("engine away"), 0), (given_back(None), 2)])
def test_a_worker_that_survives_a_ticket_ends_its_row_of_lost_ones(database, queued, sql, end, lost):
    """Given back without an error it was not begun."""
    sql("UPDATE tickets SET lost_leases = 2 WHERE id = %s", queued[0])
    batch = claim(database, 1)
    assert (str(batch.tickets[0].id), batch.suspect) == (queued[0], True)
    end(database, batch)
    assert sql("SELECT status, lost_leases FROM tickets WHERE id = %s", queued[0]) == [("queued", lost)]
