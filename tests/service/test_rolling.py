"""Counting anew beside writers and beside each other: nothing is forgotten, and what is not counted yet is told."""

import threading
from collections import Counter

import psycopg
import pytest
from processes import eventually
from sqlalchemy import text
from test_report_edges import IMPLIED
from written import Written, content

from models.db import conninfo
from service.experiments import report
from service.experiments.report import Window
from service.experiments.rollups import roll as rolling
from service.experiments.rollups import roller
from service.experiments.rollups.roll import ROLLING, roll

ENOUGH_S = 60.0
VERDICT = """
    INSERT INTO verdicts (ticket_id, content_sha256, field, label, source, taxonomy_version)
    VALUES (%s, %s, 'category', 'refunds', 'dataset', 1)"""


@pytest.fixture
def write(sql):
    return Written(sql)


@pytest.fixture
def other(database_url):
    """Another connection, in a transaction of its own."""
    with psycopg.connect(conninfo(database_url)) as made:
        yield made
        made.rollback()


def marks(sql):
    return sql("SELECT count(DISTINCT hour) FROM stale_hours")[0][0]


def judged(database):
    found = report.build(database, IMPLIED, Window(), catch_up_s=60)
    assert found["counted"]["behind_hours"] == 0
    return sum(row["n"] for row in found["cascade"]["accuracy"])


@pytest.mark.parametrize("seen", [True, False])
def test_a_writer_who_commits_while_an_hour_is_counted_is_counted(database, sql, write, other, monkeypatch, seen):
    ticket = write.judged("refunds", "top_up", "refunds")
    late = write.ticket()
    write.triage(late, "refunds")
    other.execute(VERDICT, (late, content("a text")))
    real, counted = rolling.count, []

    def between(*given):
        if seen:
            other.commit()
        counted.append(real(*given))
        other.commit()
        return counted[-1]

    with monkeypatch.context() as patched:
        patched.setattr(rolling, "count", between)
        roll(database, ENOUGH_S)
    (counts,) = counted[0].values()
    assert (counts["accuracy"]["dataset"]["n"], marks(sql)) == (1 + seen, 1)
    assert judged(database) == 2
    assert (marks(sql), ticket != late) == (0, True)


@pytest.mark.parametrize(("many", "counts"), [(12, 12), (11, 4)])
def test_two_at_once_count_every_hour_once(database, sql, write, monkeypatch, many, counts):
    """Each by itself, or with the others of its day where there are many."""
    monkeypatch.setattr(rolling, "MANY", many)
    for number in range(12):
        ticket = write.ticket(received_at=f"2026-01-{1 + number // 3:02}T{number:02}:30:00Z")
        write.triage(ticket, "refunds")
        write.verdict(ticket, "refunds")
    real, begun, counted = rolling.count, threading.Barrier(2), Counter()

    def noted(session, since, until):
        counted[since] += 1
        return real(session, since, until)

    def run():
        begun.wait()
        roll(database, ENOUGH_S)

    monkeypatch.setattr(rolling, "count", noted)
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (marks(sql), sum(counted.values()), set(counted.values())) == (0, counts, {1})
    assert judged(database) == 12


def test_an_hour_that_takes_too_long_keeps_no_other_uncounted(database, sql, write, monkeypatch):
    """The newest is counted first, then comes the one that is too much, then the oldest."""
    for hour in (1, 2, 3):
        ticket = write.ticket(received_at=f"2026-01-01T{hour:02}:30:00Z")
        write.triage(ticket, "refunds")
    real = rolling.count

    def slowly(session, since, until):
        if since.hour == 2:
            session.execute(text("SELECT pg_sleep(120)"))
        return real(session, since, until)

    monkeypatch.setattr(rolling, "count", slowly)
    assert roll(database, 4.0) is False
    assert sql("SELECT DISTINCT extract(hour FROM hour AT TIME ZONE 'UTC')::int FROM stale_hours") == [(2,)]
    assert sql("SELECT count(*) FROM report_counts WHERE span = 'hour'") == [(2,)]


def test_a_failure_in_the_middle_leaves_the_mark_and_what_was_there(database, sql, write, monkeypatch):
    write.judged("refunds", "top_up", "refunds")
    roll(database, ENOUGH_S)
    kept = sql("SELECT * FROM report_counts ORDER BY span")
    write.judged("refunds", "top_up", "refunds")

    def fails(*given):
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(rolling, "recount_day", fails)
        with pytest.raises(RuntimeError):
            roll(database, ENOUGH_S)
    assert marks(sql) == 1
    assert sql("SELECT * FROM report_counts ORDER BY span") == kept
    assert judged(database) == 2


@pytest.fixture
def busy(sql, write, other, monkeypatch):
    """Somebody else counts, and does not end; two hours have changed since they were counted."""
    monkeypatch.setattr(report, "CATCH_UP_S", 0.2)
    other.execute("SELECT pg_advisory_xact_lock(%s)", (ROLLING,))
    for hour in (1, 5):
        ticket = write.ticket(received_at=f"2026-02-02T{hour:02}:30:00Z")
        write.triage(ticket, "refunds")
        write.verdict(ticket, "refunds")
    return other


def test_what_is_not_counted_yet_is_told_and_later_counted(database, busy, sql):
    age = "SELECT extract(epoch FROM clock_timestamp() - min(at))::float8 FROM stale_hours"
    ((earlier,),) = sql(age)
    found = report.build(database, IMPLIED, Window())
    ((later,),) = sql(age)
    assert (found["cascade"]["n"], found["tickets"]["done"]) == (0, 2)
    assert found["counted"]["behind_hours"] == 2
    assert earlier <= found["counted"]["behind_s"] <= later
    (note,) = found["counted"]["notes"]
    assert note.startswith("Changes in 2 hours are not counted yet, the oldest from ")
    busy.rollback()
    assert judged(database) == 2


def test_a_window_is_not_behind_for_what_changed_outside_it(database, busy):
    outside = report.build(database, IMPLIED, Window(until=_at(1)))
    inside = report.build(database, IMPLIED, Window(until=_at(2)))
    part = report.build(database, IMPLIED, Window(_at(1, 15), _at(1, 45)))
    assert [found["counted"]["behind_hours"] for found in (outside, inside, part)] == [0, 1, 0]
    assert [found["cascade"]["n"] for found in (outside, inside, part)] == [0, 0, 1]


def _at(hour, minute=0):
    return rolling.FIRST.replace(year=2026, month=2, day=2, hour=hour, minute=minute)


@pytest.mark.parametrize("path", ["/v1/report?format=csv", "/v1/report?format=html"])
def test_every_form_tells(client, busy, path):
    assert "Changes in 2 hours are not counted yet" in client.get(path).text


def test_the_thread_counts_what_has_changed_and_outlives_a_failure(database, sql, write, monkeypatch):
    real, tried = roller.roll, []

    def failing_first(*given, **named):
        tried.append(given)
        if len(tried) == 1:
            raise RuntimeError
        return real(*given, **named)

    monkeypatch.setattr(roller, "PAUSE_S", 0.01)
    monkeypatch.setattr(roller, "roll", failing_first)
    write.judged("refunds", "top_up", "refunds")
    one = roller.Roller(database)
    one.start()
    try:
        eventually(lambda: marks(sql) == 0, why="the thread did not count")
    finally:
        one.stop()
    assert len(tried) >= 2
    assert not one.thread.is_alive()
