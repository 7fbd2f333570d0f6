"""After erasing and deleting, the report equals a recount of the rows that are left."""

import random
from datetime import timedelta

import pytest
from test_report_recount import BEGIN, EXPERIMENTS, Rows, muddle, through
from written import Written

from service.experiments import report
from service.experiments.report import Window
from service.tickets.erasure import erase
from service.tickets.retention import delete_old

LIMIT = BEGIN + timedelta(days=40)


@pytest.fixture
def muddled(database):
    with database.begin() as connection:
        muddle(Written(through(connection)), random.Random(6))


def rounded(value):
    """Without the last bits of sums, which depend on the order of rows."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 9) if isinstance(value, float) else value


def figures(database, experiment, window):
    """A report without its dates."""
    found = report.build(database, experiment, window)
    return rounded({name: value for name, value in found.items() if name not in ("generated_at", "since", "until")})


def without_units(found):
    """What does not go by requesters: an erased ticket's is not known any more."""
    return {name: value for name, value in found.items() if name not in ("arms", "split", "balance", "conclusions")}


def test_erasing_changes_no_count(database, muddled, sql):
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


def test_deleting_leaves_the_report_of_what_is_left(database, muddled, sql):
    kept = [figures(database, experiment, Window(since=LIMIT)) for experiment in EXPERIMENTS]
    whole = [figures(database, experiment, Window()) for experiment in EXPERIMENTS]
    assert sum(delete_old(database, LIMIT)) == 160
    assert [figures(database, experiment, Window()) for experiment in EXPERIMENTS] == kept != whole
    assert sql("SELECT count(*), min(received_at) FROM tickets") == [(140, LIMIT)]
