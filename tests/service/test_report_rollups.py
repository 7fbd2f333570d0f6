"""A report of what is kept for hours and days equals one of the rows, in any window and whatever has changed."""

import random
from datetime import timedelta

import pytest
from test_report_forgets import figures
from test_report_recount import BEGIN, EXPERIMENTS, muddle, through
from written import Written

from service.experiments import report
from service.experiments.report import Window
from service.experiments.rollups import window as rollups
from service.experiments.rollups.count import count
from service.experiments.rollups.rounding import confidence_key, number, time_key

NEAR = """
    UPDATE tickets SET received_at = timestamptz '2026-03-01' + (received_at - timestamptz '2026-03-01') / 30"""
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WINDOWS = [
    Window(),
    Window(BEGIN + 20 * HOUR, BEGIN + 23 * HOUR),
    Window(BEGIN + 90 * MINUTE, BEGIN + 40 * HOUR + 7 * MINUTE),
    Window(BEGIN + 90 * MINUTE, BEGIN + 110 * MINUTE),
    Window(BEGIN + 90 * MINUTE, BEGIN + 150 * MINUTE),
    Window(BEGIN + 24 * HOUR, BEGIN + 48 * HOUR),
    Window(BEGIN + 23 * HOUR + MINUTE, BEGIN + 48 * HOUR + MINUTE),
    Window(until=BEGIN + 30 * HOUR + MINUTE),
    Window(since=BEGIN + 30 * HOUR + MINUTE),
    Window(BEGIN + 30 * HOUR, BEGIN + 30 * HOUR),
    Window(BEGIN + 31 * HOUR, BEGIN + 30 * HOUR),
]
ONE = "(SELECT id FROM tickets WHERE external_id = 'that one')"
CHANGES = {
    "a verdict": "INSERT INTO verdicts (ticket_id, content_sha256, field, label, source, taxonomy_version)"
    f" SELECT id, content_sha256, 'category', 'refunds', 'dataset', 1 FROM tickets WHERE id = {ONE}",
    "another verdict": "INSERT INTO verdicts (ticket_id, content_sha256, field, label, source, taxonomy_version)"
    f" SELECT id, content_sha256, 'category', 'top_up', 'dataset', 1 FROM tickets WHERE id = {ONE}",
    "a verdict's label": f"UPDATE verdicts SET label = 'transfers' WHERE ticket_id = {ONE} AND label = 'top_up'",
    "no verdict": f"DELETE FROM verdicts WHERE ticket_id = {ONE}",
    "a decision": f"UPDATE triages SET action = 'automate', wait_ms = 12345 WHERE ticket_id = {ONE}",
    "an answer": f"UPDATE predictions SET call_ms = 77777, confidence = 0.123456 WHERE ticket_id = {ONE}",
    "no answer": f"DELETE FROM predictions WHERE ticket_id = {ONE}",
    "another run": f"UPDATE tickets SET run = 3 WHERE id = {ONE}",
    "a result": "INSERT INTO triages (ticket_id, run, field, taxonomy_version, label, calibrated, decided_by, llms,"
    " action, reason, alternatives, wait_ms, time_to_label_ms, received_at, newest) SELECT id, 3, 'category', 1,"
    " 'refunds', true, 'cascade', '{one}', 'suggest', 'x', '[]', 1, 2, received_at, false FROM tickets"
    f" WHERE id = {ONE}",
    "its coin": f"UPDATE tickets SET shadow = NOT shadow WHERE id = {ONE}",
    "other text": "UPDATE tickets SET content_sha256 = sha256('x') WHERE experiment = 'doubled' AND shadow",
    "its time": f"UPDATE tickets SET received_at = received_at + interval '20 hours' WHERE id = {ONE}",
    "its experiment": f"UPDATE tickets SET experiment = NULL WHERE id = {ONE}",
    "nothing decided": "TRUNCATE triages",
}


@pytest.fixture(scope="module")
def near(module_database):
    """A muddle of five tickets an hour, and how to change it."""
    with module_database.begin() as connection:
        write = Written(through(connection))
        muddle(write, random.Random(7))
        connection.exec_driver_sql(NEAR)
        one = write.ticket(experiment="doubled", external_id="that one", received_at=BEGIN + 20 * HOUR + MINUTE)
        write.prediction(one, "one", "top_up")
        write.prediction(one, "two", "refunds", "shadow")
        write.triage(one, "transfers")

    def change(statement):
        with module_database.begin() as connection:
            connection.exec_driver_sql(statement)

    return change


def of_rows(session, cut, experiment, field):
    """All counted from rows at once."""
    found = rollups.Counted({}, {}, None)
    if cut.since < cut.until:
        rollups._collect(found, count(session, cut.since, cut.until), experiment, field)
    return found


@pytest.fixture
def both(module_database, near, monkeypatch):
    """What is kept, and what the rows say."""

    def read(experiment, window):
        kept = figures(module_database, experiment, window)
        with monkeypatch.context() as patched:
            patched.setattr(report.rollups, "read", of_rows)
            return kept, figures(module_database, experiment, window)

    return read


@pytest.mark.parametrize("window", WINDOWS, ids=range(len(WINDOWS)))
@pytest.mark.parametrize("experiment", EXPERIMENTS[:2], ids=lambda one: one.name)
def test_every_figure_is_that_of_the_rows(both, experiment, window):
    kept, rows = both(experiment, window)
    assert kept == rows
    empty = window.until is not None and window.since is not None and window.since >= window.until
    assert (rows["tickets"]["received"] == 0) == empty or not experiment.implied


@pytest.mark.parametrize("change", CHANGES)
def test_after_every_change_too(both, near, change):
    windows = Window(), Window(since=BEGIN + 30 * HOUR)
    before = [both(EXPERIMENTS[1], window)[1] for window in windows]
    near(CHANGES[change])
    for experiment in EXPERIMENTS[:2]:
        after = [both(experiment, window) for window in windows]
        assert [kept for kept, _ in after] == [rows for _, rows in after]
    assert [rows for _, rows in after] != before


def test_a_ticket_that_is_claimed_and_released_marks_nothing(near, module_database):
    near("DELETE FROM stale_hours")
    near("UPDATE tickets SET status = 'working', lease_id = gen_random_uuid(), claimed_at = now(), attempts = 1")
    near("UPDATE tickets SET status = 'done', lease_id = NULL, done_at = now()")
    with module_database.begin() as connection:
        assert through(connection)("SELECT count(*) FROM stale_hours") == [(0,)]


def test_numbers_are_rounded_to_three_digits_and_confidences_down_by_two_of_what_they_lack(sql):
    draw = random.Random(3)
    values = [10 ** draw.uniform(-5, 9) for _ in range(500)] + [0.0, 1.0, 9.995, 999.5, 1000.0, 1e-9, -12.345]
    keys = sql(f"SELECT value, {time_key('value')}::text FROM unnest(%s::float8[]) value", values)
    assert [(v, k) for v, k in keys if abs(number(k) - v) > 0.00501 * abs(v) + 1e-6] == []
    assert {float(f"{number(k):.3g}") == number(k) for _, k in keys} == {True}
    sure = [draw.random() for _ in range(300)] + [1 - 10 ** draw.uniform(-6, 0) for _ in range(300)]
    sure += [0.0, 0.1, 0.5, 0.9, 0.97, 0.99, 0.999, 1.0] + [n / 1000 for n in range(1000)]
    keys = sql(f"SELECT value, {confidence_key('value')}::text FROM unnest(%s::float8[]) value", sure)
    low = [(v, k) for v, k in keys if not v - 0.101 * (1 - v) - 1e-6 <= 1 - number(k) <= v]
    assert low == []


def test_what_is_no_time_is_left_out(sql):
    assert sql(f"SELECT {time_key('v')} FROM unnest('{{NaN, Infinity, 1e300}}'::float8[]) v") == [(None,)] * 3
