"""Every count of a report equals a recount of the raw rows, over a seeded muddle of all that can happen to tickets."""

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from written import LABELS, Written, content

from service.config import Arm
from service.experiments import report
from service.experiments.assignment import Experiment, unit
from service.experiments.report import EXHAUSTIVE, Window
from service.experiments.rollups.roll import roll

ENOUGH_S = 120.0  # to count all hours; a report waits a second for what has changed
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
SOURCES = ("dataset", "dataset", "review", "agent_change")
REASONS = ("assigned", "shadow", "escalated", "failure")
COMPARABLE = ("assigned", "shadow")
A, B = Arm(primary="one"), Arm(primary="two")
EXPERIMENTS = [
    Experiment("primary-or-fallback", "category", "shadow", A, B, implied=True),
    Experiment("doubled", "category", "shadow", A, B),
    Experiment("halved", "category", "split", A, B, since=BEGIN + timedelta(days=10), until=BEGIN + timedelta(days=80)),
]
WINDOWS = [Window(), Window(BEGIN + timedelta(days=20), BEGIN + timedelta(days=60))]


def muddle(write, draw):
    """Tickets with edits, old runs, verdicts that were superseded, answers asked for in every way."""
    for number in range(300):
        experiment, text = draw.choice([None, "doubled", "doubled", "halved"]), draw.choice(["old text", "new text"])
        arm = draw.choice("ab") if experiment == "halved" else None
        about = {"experiment": experiment, "arm": arm, "run": draw.choice([1, 2]), "shadow": draw.random() < 0.7}
        about |= {"requester": draw.choice([None, "", *"pqrstu"]), "external_id": draw.choice([None, str(number)])}
        status = draw.choice(["done", "done", "failed"])
        ticket = write.ticket(text, received_at=BEGIN + timedelta(days=number / 4), status=status, **about)
        for run in range(1, about["run"] + 1):
            for llm in draw.sample(["one", "two", "three"], draw.choice([2, 3])):
                sure = {"confidence": draw.random(), "run": run}
                write.prediction(ticket, llm, draw.choice(LABELS), draw.choice(REASONS + COMPARABLE), **sure)
            if draw.random() < 0.9:
                action = {"action": draw.choice(["automate", "suggest", "review"]), "newest": run == about["run"]}
                served = {"served_arm": draw.choice([arm, None]), "run": run, "time_to_label_ms": draw.random() * 100}
                write.triage(ticket, draw.choice([*LABELS, None]), **action, **served)
        for _ in range(draw.choice([2, 3])):
            seen = draw.choice(["old text", "new text", text])
            write.verdict(ticket, draw.choice(LABELS), draw.choice(SOURCES), seen)


class Rows:
    """The raw rows of one experiment and window, joined in Python."""

    def __init__(self, sql, experiment, window):
        names = "id, experiment, arm, run, requester, external_id, content_sha256, received_at, status"
        since = max(filter(None, (window.since, experiment.since)), default=None)
        until = min(filter(None, (window.until, experiment.until)), default=None)
        self.tickets = {}
        for row in sql(f"SELECT {names} FROM tickets"):
            ticket = dict(zip(names.split(", "), row, strict=True))
            ours = experiment.implied or ticket["experiment"] == experiment.name
            after = since is None or since <= ticket["received_at"]
            if ours and after and (until is None or ticket["received_at"] < until):
                self.tickets[ticket["id"]] = ticket
        self.said = [row for row in sql(SAID) if row[0] in self.tickets and self.tickets[row[0]]["run"] == row[1]]
        found = [row for row in sql(DECIDED) if row[0] in self.tickets and self.tickets[row[0]]["run"] == row[1]]
        self.decided = {row[0]: row[2:] for row in found}
        self.truth = defaultdict(dict)
        for ticket, text, source, label in sql(
            "SELECT ticket_id, content_sha256, source, label FROM verdicts ORDER BY id"
        ):
            if ticket in self.tickets and self.tickets[ticket]["content_sha256"] == text:
                self.truth[ticket][source] = label

    def judged(self, ticket):
        return {source: label for source, label in self.truth[ticket].items() if source in EXHAUSTIVE}

    def unit(self, ticket):
        row = self.tickets[ticket]
        return unit(row["requester"], row["external_id"], str(ticket))


SAID = """
    SELECT p.ticket_id, p.run, l.name, p.label, p.reason, p.confidence
    FROM predictions p JOIN llm_versions l ON l.id = p.llm_version_id"""
DECIDED = "SELECT ticket_id, run, label, action, served_arm, time_to_label_ms FROM triages"


def through(connection):
    """Runs one statement on this connection."""

    def sql(statement, *values):
        found = connection.exec_driver_sql(statement, values)
        return [tuple(row) for row in found] if found.returns_rows else []

    return sql


@pytest.fixture(scope="module")
def raw(module_database):
    with module_database.begin() as connection:
        muddle(Written(through(connection)), random.Random(20261121))
    roll(module_database, ENOUGH_S)
    with module_database.begin() as connection:
        yield through(connection)


@pytest.fixture(params=[(e, w) for e in EXPERIMENTS for w in WINDOWS], ids=lambda p: f"{p[0].name}-{bool(p[1].since)}")
def both(request, raw, module_database):
    """The report, and the rows that it should be about."""
    experiment, window = request.param
    found = report.build(module_database, experiment, window)
    rows = Rows(raw, experiment, window)
    assert len(rows.tickets) >= 15
    return found, rows


def test_tickets_and_what_was_done_with_them(both):
    found, rows = both
    statuses = Counter(ticket["status"] for ticket in rows.tickets.values())
    assert found["tickets"] == {"received": len(rows.tickets), "queued": 0, "working": 0} | statuses
    actions = Counter(action for _, action, _, _ in rows.decided.values())
    assert (found["cascade"]["n"], found["cascade"]["actions"]) == (len(rows.decided), actions)
    right = Counter()
    for ticket, (label, *_) in rows.decided.items():
        for source, truth in rows.judged(ticket).items():
            right[source, label == truth] += 1
    assert {(a["source"], a["n"], a["successes"]) for a in found["cascade"]["accuracy"]} == {
        (source, right[source, True] + right[source, False], right[source, True]) for source, _ in right
    }


def test_what_each_llm_said(both):
    found, rows = both
    for llm in found["llms"]:
        mine = [row for row in rows.said if row[2] == llm["llm"]]
        assert llm["n"] == len(mine)
        assert llm["reasons"] == {reason: sum(row[4] == reason for row in mine) for reason in REASONS}
        fair = [row for row in mine if row[4] in COMPARABLE]
        assert llm["mean_confidence"] == pytest.approx(sum(row[5] for row in fair) / len(fair))
        said = [(row[3], truth) for row in fair for truth in rows.judged(row[0]).values()]
        (accuracy,) = llm["accuracy"]
        assert (accuracy["n"], accuracy["successes"]) == (len(said), sum(a == b for a, b in said))
        wrong = Counter((truth, label) for label, truth in said if label != truth)
        assert {(c["truth"], c["said"]): c["n"] for c in llm["confusions"]} == wrong
    assert {llm["llm"] for llm in found["llms"]} == {row[2] for row in rows.said}


def test_the_pair(both):
    found, rows = both
    if found["experiment"]["mode"] == "split":
        assert found["pair"] == []
        return
    fair = {(row[0], row[2]): row[3] for row in rows.said if row[4] in COMPARABLE}
    cells = Counter()
    for ticket in rows.tickets:
        if (ticket, "one") in fair and (ticket, "two") in fair:
            for truth in rows.judged(ticket).values():
                cells[fair[ticket, "one"] == truth, fair[ticket, "two"] == truth] += 1
    (pair,) = found["pair"]
    expected = [cells[True, True], cells[True, False], cells[False, True], cells[False, False]]
    assert [pair[name] for name in ("both", "only_a", "only_b", "neither")] == expected
    assert sum(expected) >= 2


def test_corrections_are_all_other_verdicts(both):
    found, rows = both
    counted = Counter()
    for ticket, (label, *_) in rows.decided.items():
        for source, truth in rows.truth[ticket].items():
            if source not in EXHAUSTIVE:
                counted[source, truth != label] += 1
    assert {(c["source"], c["n"], c["changed"]["successes"]) for c in found["corrections"]} == {
        (source, counted[source, True] + counted[source, False], counted[source, True]) for source, _ in counted
    }


def test_the_arms_of_a_split(both):
    found, rows = both
    if found["experiment"]["mode"] == "shadow":
        assert (found["arms"], found["balance"], found["split"]) == ({}, None, [])
        return
    units = {}
    for name in "ab":
        mine, arm = [t for t, row in rows.tickets.items() if row["arm"] == name], found["arms"][name]
        decided = [rows.decided[t] for t in mine if t in rows.decided]
        units[name] = {rows.unit(t) for t in mine}
        assert (arm["tickets"], arm["decided"], arm["units"]) == (len(mine), len(decided), len(units[name]))
        assert arm["served_as_assigned"] == sum(served == name for _, _, served, _ in decided)
        assert arm["actions"] == Counter(action for _, action, _, _ in decided)
        assert arm["times"]["time_to_label_ms"]["n"] == len(decided)
        pairs = [(t, rows.decided[t][0], truth) for t in mine if t in rows.decided for truth in rows.judged(t).values()]
        (accuracy,), (row,) = arm["accuracy"], found["split"]
        of = (accuracy["n"], accuracy["successes"], accuracy["clusters"])
        assert of == (len(pairs), sum(a == b for _, a, b in pairs), len({rows.unit(t) for t, _, _ in pairs}))
        assert {"source": "dataset"} | row[f"accuracy_{name}"] == accuracy
        assert accuracy["design_effect"] == pytest.approx(max(1.0, _effect(rows, pairs)))
    assert [found["balance"][f"units_{name}"] for name in "ab"] == [len(units[name]) for name in "ab"]


def _effect(rows, pairs):
    """The variance of the ratio of requesters' totals, over the binomial one."""
    totals = defaultdict(lambda: [0, 0])
    for ticket, label, truth in pairs:
        totals[rows.unit(ticket)][0] += 1
        totals[rows.unit(ticket)][1] += label == truth
    n, k = len(pairs), len(totals)
    p = sum(right for _, right in totals.values()) / n
    variance = k / (k - 1) * sum((right - p * m) ** 2 for m, right in totals.values()) / n**2
    return variance / (p * (1 - p) / n)


def test_the_muddle_has_a_text_of_each_kind(raw):
    assert raw("SELECT count(DISTINCT content_sha256) FROM tickets") == [(2,)]
    assert content("old text") != content("new text")
