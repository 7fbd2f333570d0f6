"""After erasing, the report equals a recount of the rows; after deleting, it says of what is gone what it said."""

import random
from datetime import timedelta

import pytest
from test_report_recount import BEGIN, ENOUGH_S, EXPERIMENTS, Rows, muddle, through
from written import Written

from service.experiments import report
from service.experiments.report import Window
from service.experiments.rollups import roll as rolling
from service.experiments.rollups.roll import roll
from service.tickets import retention
from service.tickets.erasure import erase
from service.tickets.retention import delete_old

LIMIT = BEGIN + timedelta(days=40)
DAYS = timedelta(days=3)
OF_ITSELF = ("generated_at", "since", "until", "counted")


@pytest.fixture(scope="module")
def muddled(module_database):
    """The name of a database with rows that are counted."""
    with module_database.begin() as connection:
        muddle(Written(through(connection)), random.Random(6))
    roll(module_database, ENOUGH_S)
    module_database.dispose()
    return module_database.url.database


@pytest.fixture
def database_url(clone, muddled):
    with clone(muddled) as url:
        yield url


def rounded(value):
    """Without the last bits of sums, which depend on the order of rows."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 9) if isinstance(value, float) else value


def figures(database, experiment, window):
    """A report without its dates, and without what it says of itself."""
    roll(database, ENOUGH_S)
    found = report.build(database, experiment, window)
    return rounded({name: value for name, value in found.items() if name not in OF_ITSELF})


def without_units(found):
    """What does not go by requesters: an erased ticket's is not known any more."""
    return {name: value for name, value in found.items() if name not in ("arms", "split", "balance", "conclusions")}


def test_erasing_changes_no_count(database, sql):
    before = [figures(database, experiment, Window()) for experiment in EXPERIMENTS]
    for (ticket,) in sql("SELECT id FROM tickets ORDER BY received_at")[::3]:
        erase(database, ticket)
    assert sql("SELECT count(*), count(*) FILTER (WHERE body <> '') FROM tickets") == [(300, 200)]
    after = [figures(database, experiment, Window()) for experiment in EXPERIMENTS]
    assert after[:2] == before[:2]
    assert without_units(after[2]) == without_units(before[2])
    rows = Rows(sql, EXPERIMENTS[2], Window())
    for name in "ab":
        mine = {rows.unit(ticket) for ticket, row in rows.tickets.items() if row["arm"] == name}
        assert after[2]["arms"][name]["units"] == len(mine) > before[2]["arms"][name]["units"]
    assert [arm["actions"] for arm in after[2]["arms"].values()] == [a["actions"] for a in before[2]["arms"].values()]


def said(database, window):
    """What a report of each experiment says that does not go by requesters."""
    return [without_units(figures(database, experiment, window)) for experiment in EXPERIMENTS]


def test_deleting_changes_no_count(database, sql):
    whole, left, inside = said(database, Window()), said(database, Window(since=LIMIT)), Window(since=LIMIT - DAYS)
    parts = said(database, inside)
    assert sum(delete_old(database, LIMIT)) == 160
    assert sql("SELECT count(*), min(received_at) FROM tickets") == [(140, LIMIT)]
    assert sql("SELECT count(*) FROM stale_hours") == [(0,)]
    assert said(database, Window()) == whole != left == said(database, Window(since=LIMIT))
    assert said(database, inside) == parts
    counted = report.build(database, EXPERIMENTS[0], Window())["counted"]
    assert counted["deleted"] == {"tickets": 160, "before": "2026-04-09T19:00:00Z"}
    assert report.build(database, EXPERIMENTS[0], Window(since=LIMIT))["counted"]["deleted"] is None
    assert report.build(database, EXPERIMENTS[0], inside)["counted"]["deleted"]["tickets"] == 12


def test_the_arms_are_those_of_the_tickets_that_are_left_and_say_so(database, sql):
    split = EXPERIMENTS[2]
    before = figures(database, split, Window(since=LIMIT))
    list(delete_old(database, LIMIT))
    after = figures(database, split, Window())
    assert (after["arms"], after["balance"], after["split"]) == (before["arms"], before["balance"], before["split"])
    notes = report.build(database, split, Window())["counted"]["notes"]
    assert "The arms are read from the tickets themselves" in notes[1]


def test_interrupted_and_begun_again_it_ends_in_the_same_figures(database, sql, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 30)
    whole = said(database, Window())
    for _ in range(2):
        assert next(delete_old(database, LIMIT)) == 30
        assert said(database, Window()) == whole
    assert sum(delete_old(database, LIMIT)) == 100
    assert said(database, Window()) == whole


def test_what_changes_before_it_is_deleted_is_counted_and_what_changes_later_is_not(database, sql):
    write, (first, later) = Written(sql), (BEGIN, BEGIN + timedelta(hours=6))
    late = write.ticket("late", received_at=later, status="queued")
    ((old,),) = sql("SELECT id FROM tickets WHERE received_at = %s", first)
    sql("UPDATE triages SET action = 'automate' WHERE ticket_id = %s", old)
    whole = said(database, Window())
    assert sum(delete_old(database, LIMIT)) == 160
    assert said(database, Window()) == whole
    write.triage(late, "refunds")
    sql("UPDATE tickets SET status = 'done' WHERE id = %s", late)
    assert said(database, Window()) == whole
    assert sum(delete_old(database, LIMIT)) == 1
    assert said(database, Window()) == whole


def test_who_waited_while_an_hour_was_frozen_does_not_count_it(database, sql, monkeypatch):
    """A roller that has found the mark, and gets the lock when the rows are deleted."""
    sql("UPDATE triages SET action = 'automate' WHERE received_at = %s", BEGIN)
    whole, found = said(database, Window()), [[BEGIN]]
    list(delete_old(database, LIMIT))
    sql("INSERT INTO stale_hours (hour) VALUES (%s)", BEGIN)
    with monkeypatch.context() as patched:
        patched.setattr(rolling, "_stale", lambda *given: found)
        roll(database, ENOUGH_S)
    assert said(database, Window()) == whole


def test_of_an_hour_that_was_deleted_there_is_no_part(database):
    of_one = Window(until=BEGIN + timedelta(hours=1)), Window(until=BEGIN + timedelta(minutes=1))
    before = [said(database, window)[0]["tickets"]["received"] for window in of_one]
    list(delete_old(database, LIMIT))
    assert (before, [said(database, window)[0]["tickets"]["received"] for window in of_one]) == ([1, 1], [1, 0])


def test_no_text_is_kept(database, sql):
    list(delete_old(database, LIMIT))
    sql("DELETE FROM verdicts")
    kept = sql("SELECT document::text FROM report_counts") + sql("SELECT p::text FROM report_pairs p")
    assert len(kept) > 100
    assert [text for (text,) in kept if "text" in text or "crm" in text] == []
