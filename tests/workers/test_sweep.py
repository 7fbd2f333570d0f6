"""A claim begins where the queue began at the last sweep, and yet misses nothing that is due."""

import math
from dataclasses import replace

import pytest

from workers.claim import claim, give_back
from workers.sweep import AWAY_S, GRACE_S, PRIORITIES, Reach, sweep

INSERT = """
    INSERT INTO tickets (id, source, subject, body, raw, content_sha256, shadow, shadow_rate, priority)
    VALUES (gen_random_uuid(), 'api', '', {body!r}, '', '', false, 0, {priority})"""
EARLIER = "UPDATE tickets SET due_at = due_at - interval '1 hour' WHERE body = 'late'"


@pytest.fixture(autouse=True)
def calm(monkeypatch):
    """On a busy machine a test may take longer than marks count."""
    monkeypatch.setattr("workers.sweep.OLD_S", 3600.0)


@pytest.fixture
def bodies(database):
    """What a claim by these marks takes."""

    def taken(marks, most=100):
        return sorted(ticket.body for ticket in claim(database, most, marks=marks).tickets)

    return taken


def insert(sql, body, priority=1):
    sql(INSERT.format(body=body, priority=priority))


def test_what_comes_after_the_sweep_is_taken_by_its_marks_urgent_ones_first(database, sql, bodies):
    marks = sweep(database)
    for priority in reversed(PRIORITIES):
        insert(sql, f"p{priority}", priority)
    assert [bodies(marks, 1) for _ in PRIORITIES] == [[f"p{priority}"] for priority in PRIORITIES]


def test_a_batch_is_filled_up_with_what_is_less_urgent(database, sql, bodies):
    for priority in reversed(PRIORITIES):
        for number in range(2):
            insert(sql, f"p{priority}-{number}", priority)
    assert bodies(sweep(database), 3)[:2] == ["p0-0", "p0-1"]
    assert bodies(sweep(database), 3) == ["p1-1", "p2-0", "p2-1"]


def test_an_old_queue_is_taken_from_its_beginning(database, sql, bodies):
    for body in ("late", "new"):
        insert(sql, body)
    sql(EARLIER)
    assert bodies(sweep(database), 1) == ["late"]
    assert bodies(sweep(database), 1) == ["new"]


def test_what_was_committed_after_the_sweep_and_begun_before_is_taken(database, sql, bodies):
    with database.connect() as connection, connection.begin():
        connection.exec_driver_sql(INSERT.format(body="slow", priority=0))
        marks = sweep(database)
    assert bodies(marks) == ["slow"]


def test_what_was_given_back_is_taken_by_the_same_marks(database, sql):
    insert(sql, "again")
    marks = sweep(database)
    first = claim(database, 1, marks=marks)
    give_back(database, first, [ticket.id for ticket in first.tickets])
    assert claim(database, 1, marks=marks).tickets == first.tickets


def test_what_was_moved_below_the_marks_waits_for_the_next_sweep_and_no_longer(database, sql, bodies):
    insert(sql, "late")
    marks = sweep(database)
    sql(EARLIER)
    assert bodies(marks) == []
    assert bodies(sweep(database)) == ["late"]


def test_marks_that_nobody_has_renewed_do_not_count(database, sql, bodies):
    insert(sql, "late")
    marks = sweep(database)
    sql(EARLIER)
    assert bodies(replace(marks, read_at=-math.inf)) == ["late"]


def test_an_expired_lease_is_found_by_a_sweep_alone(database, sql):
    insert(sql, "late")
    marks = sweep(database)
    claim(database, 1, marks=marks)
    sql("UPDATE tickets SET lease_until = now() - interval '1 second'")
    assert not claim(database, 1, marks=marks).tickets
    sweep(database)
    assert claim(database, 1, marks=marks).suspect


BEFORE = "UPDATE tickets SET claimed_at = pg_postmaster_start_time() - interval '1 minute'"


@pytest.mark.parametrize(
    ("grace", "claimed", "found"),
    [(86_400, BEFORE, False), (0, BEFORE, True), (86_400, "SELECT", True)],
    ids=["held through a restart", "long ago", "claimed after it"],
)
def test_who_held_a_lease_while_postgres_restarted_has_time_to_write(database, sql, monkeypatch, grace, claimed, found):
    monkeypatch.setattr("workers.sweep.GRACE_S", grace)
    insert(sql, "late")
    claim(database, 1)
    sql(claimed)
    sql("UPDATE tickets SET lease_until = now() - interval '1 second'")
    sweep(database)
    assert sql("SELECT status, lost_leases FROM tickets") == [("queued", 1) if found else ("working", 0)]


def test_nor_are_leases_ended_as_soon_as_a_frozen_postgres_answers_again(database, sql):
    times = iter((0, AWAY_S + 1, AWAY_S + GRACE_S, AWAY_S + GRACE_S + 1))
    reach = Reach(lambda: next(times))
    insert(sql, "late")
    claim(database, 1)
    sql("UPDATE tickets SET lease_until = now() - interval '1 second'")
    assert reach.steady()
    for ended in (False, False, True):
        sweep(database, None, reach)
        assert sql("SELECT status, lost_leases FROM tickets") == [("queued", 1) if ended else ("working", 0)]


def test_where_every_answer_takes_long_leases_end_all_the_same():
    times = iter(range(0, 100, 15))
    reach = Reach(lambda: next(times))
    assert [reach.steady() for _ in range(7)] == [True, False, True, False, True, False, True]


def test_a_drain_claims_by_the_marks_of_its_last_sweep(drain, sql):
    insert(sql, "late")
    drain.sweep()
    sql(EARLIER)
    drain.run()
    assert sql("SELECT status FROM tickets") == [("queued",)]
    drain.sweep()
    drain.run()
    assert sql("SELECT status FROM tickets") == [("done",)]
