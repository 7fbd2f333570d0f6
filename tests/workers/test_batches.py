"""Batches overlap: the next ones are claimed before the last is written, but who lost a worker has one to itself."""

import threading

import pytest

from models.errors import EngineDown, Unavailable
from workers import drain as drains
from workers import settle
from workers.claim import claim
from workers.llm import Llm
from workers.pace import FIRST, MOST, Pace

WORKING = "SELECT count(*) FROM tickets WHERE status = 'working'"


@pytest.fixture
def ten(client):
    answer = client.post("/v1/tickets/batch", json={"tickets": [{"body": f"my card {i}"} for i in range(10)]})
    return [item["id"] for item in answer.json()["items"]]


@pytest.fixture
def pairs(drain, monkeypatch):
    """A drain whose batches have two tickets."""
    monkeypatch.setattr(Pace, "size", 2)
    return drain


@pytest.fixture
def at_each_write(monkeypatch):
    """Runs something just before a batch's results are written."""

    def watch(seen):
        real = settle.record

        def record(*given):
            seen()
            return real(*given)

        monkeypatch.setattr(settle, "record", record)

    return watch


def test_the_next_batch_is_in_work_while_one_is_written(pairs, ten, sql, at_each_write):
    working = []
    at_each_write(lambda: working.append(sql(WORKING)[0][0]))
    pairs.run()
    assert all(4 <= count <= 6 for count in working[:-1]), working
    assert working[-1] == 2
    assert sql("SELECT status, count(*) FROM tickets GROUP BY 1") == [("done", 10)]
    assert sql("SELECT count(*), count(DISTINCT ticket_id) FROM triages") == [(10, 10)]


def test_who_lost_a_worker_waits_until_it_can_be_alone(pairs, ten, sql, at_each_write):
    together = []

    def seen():
        if not together:  # the first two batches are under way
            sql("UPDATE tickets SET lost_leases = 1 WHERE id = %s", ten[-1])
        together.append(sql("SELECT count(*), bool_or(lost_leases > 0) FROM tickets WHERE status = 'working'")[0])

    at_each_write(seen)
    pairs.run()
    assert [count for count, suspect in together if suspect] == [1]
    assert sum(count >= 4 for count, _ in together) > 1
    assert sql("SELECT status, sum(lost_leases) FROM tickets GROUP BY 1") == [("done", 0)]


def test_a_busy_worker_gets_nothing_while_a_ticket_must_be_alone(database, ten, sql):
    sql("UPDATE tickets SET lost_leases = 1 WHERE id = %s", ten[3])
    assert claim(database, 5, busy=True).tickets == []
    alone = claim(database, 5)
    assert ([str(ticket.id) for ticket in alone.tickets], alone.suspect) == ([ten[3]], True)
    assert len(claim(database, 5, busy=True).tickets) == 5


def test_a_stopped_worker_gives_back_what_it_claimed_ahead(pairs, ten, sql, at_each_write):
    at_each_write(pairs.stop)
    pairs.run()
    rows = dict(sql("SELECT status, count(*) FROM tickets GROUP BY 1"))
    assert rows.get("working", 0) == 0
    assert rows["done"] in range(2, 7)
    assert sql("SELECT sum(attempts), sum(lost_leases), count(lease_id) FROM tickets") == [(0, 0, 0)]


def test_a_batch_is_half_a_second_of_work_as_it_was_lately():
    now = [0.0]
    pace = Pace(4, lambda: now[0])
    assert pace.size == 4 * FIRST
    now[0] = 1.0
    pace.settled(100)
    assert pace.size == 50
    now[0] = 2.0
    pace.settled(220)
    assert pace.size == 80
    now[0] = 60.0
    pace.start()  # a pause is no work
    now[0] = 61.0
    pace.settled(160)
    assert pace.size == 80
    now[0] = 62.0
    pace.settled(0)  # nor is a batch of empty texts
    assert pace.size == 80


def test_a_last_small_batch_that_seems_to_take_no_time_does_not_blow_up_the_next_one():
    now = [0.0]
    pace = Pace(1, lambda: now[0])
    now[0] = 8.0
    pace.settled(32)
    assert pace.size == 2
    now[0] = 8.001
    pace.settled(4)
    assert pace.size == 4


def test_what_is_in_work_is_written_although_the_next_claim_fails(pairs, ten, sql, at_each_write, monkeypatch):
    """As when Postgres restarts between two statements."""
    real, claims = drains.claim, []

    def sometimes(*given, busy, **named):
        claims.append(busy)
        if len(claims) in (2, 3):
            raise Unavailable("Postgres does not answer")
        return real(*given, busy=busy, **named)

    monkeypatch.setattr(drains, "claim", sometimes)
    pairs.run()
    assert claims == [False, True, False]
    assert sql("SELECT status, count(*), sum(lost_leases) FROM tickets GROUP BY 1 ORDER BY 1") == [
        ("done", 2, 0),
        ("queued", 8, 0),
    ]
    pairs.run()
    assert sql("SELECT status, count(*), sum(lost_leases) FROM tickets GROUP BY 1") == [("done", 10, 0)]


def test_the_batch_behind_one_that_cannot_be_written_is_written(pairs, ten, sql, monkeypatch):
    real, writes = settle.record, []

    def record(*given):
        writes.append(None)
        if len(writes) == 1:
            raise Unavailable("Postgres does not answer")
        return real(*given)

    monkeypatch.setattr(settle, "record", record)
    monkeypatch.setattr("workers.claim.LONGEST_S", 0.0)
    pairs.run()
    rows = dict(sql("SELECT status, count(*) FROM tickets GROUP BY 1"))
    assert rows["working"] == 2
    assert rows["done"] in (2, 4)  # one or two were claimed by then


def test_an_engine_that_goes_away_says_nothing_of_its_speed(pairs, ten, sql, monkeypatch):
    def away(*_):
        raise EngineDown("away")

    monkeypatch.setattr(Llm, "ask", away)
    pairs.run()
    assert pairs.pace.rate is None
    assert sql("SELECT DISTINCT status, attempts, lost_leases FROM tickets") == [("queued", 0, 0)]


@pytest.mark.parametrize(("tickets", "size"), [(1, 4), (1_000_000, MOST)])
def test_a_batch_fills_the_slots_and_is_never_huge(tickets, size):
    now = [0.0]
    pace = Pace(4, lambda: now[0])
    now[0] = 1.0
    pace.settled(tickets)
    assert pace.size == size


def test_a_mistake_of_ours_leaves_no_lease_that_lives_on(pairs, ten, monkeypatch):
    def mistake(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(settle, "record", mistake)
    with pytest.raises(ZeroDivisionError):
        pairs.run()
    assert [thread.name for thread in threading.enumerate() if thread.name == "renew"] == []
    assert not pairs.running.locked()


def test_a_third_batch_is_claimed_while_one_is_written(pairs, ten, monkeypatch):
    claims, third, real_claim, real_record = [], threading.Event(), drains.claim, settle.record

    def claim(*given, **named):
        claims.append(real_claim(*given, **named))
        if len(claims) == 3:
            third.set()
        return claims[-1]

    def record(*given):
        assert third.wait(30)
        return real_record(*given)

    monkeypatch.setattr(drains, "claim", claim)
    monkeypatch.setattr(settle, "record", record)
    pairs.run()
    assert sum(len(batch.tickets) for batch in claims) == 10


def test_a_claim_beside_a_write_that_fails_ends_no_drain(pairs, ten, sql, monkeypatch):
    real, claims = drains.claim, []

    def once(*given, **named):
        claims.append(None)
        if len(claims) == 3:
            raise Unavailable("Postgres does not answer")
        return real(*given, **named)

    monkeypatch.setattr(drains, "claim", once)
    pairs.run()
    assert sql("SELECT status, count(*) FROM tickets GROUP BY 1") == [("done", 10)]


def test_a_bug_while_one_batch_is_written_leaves_the_others_as_they_were(pairs, ten, sql, at_each_write):
    def bug():
        raise RuntimeError

    at_each_write(bug)
    with pytest.raises(RuntimeError):
        pairs.run()
    assert sql("SELECT count(*), count(DISTINCT lease_id) FROM tickets WHERE status = 'working'") == [(2, 1)]
    assert sql("SELECT max(lost_leases), max(attempts) FROM tickets") == [(0, 0)]
    assert sql("SELECT count(*) FROM tickets WHERE status = 'queued' AND lease_until IS NULL AND due_at <= now()") == [
        (8,)
    ]
