"""triage report: the report of any experiment, as tables, as CSV, and as a file to keep."""

import re

import psycopg
import pytest
from written import Written

from models.db import conninfo
from service.cli import report as command
from service.experiments.rollups.roll import ROLLING

EXPERIMENTS = """
experiments:
  - name: halves
    mode: split
    a: {primary: primary}
    b: {primary: primary, fallback: fallback, escalate_below: 0.85}
    until: 2020-03-01T00:00:00Z
"""
DAY = "2020-02-02T00:00:00Z"


@pytest.fixture
def reported(stored, sql, tmp_path):
    """The command, over a split with verdicts in its arms and a pair that the policy compares."""
    path = tmp_path / "triage.yaml"
    path.write_text(path.read_text() + EXPERIMENTS)
    write = Written(sql)
    for number in range(3):
        write.served("ab"[number % 2], True, f"requester {number}", received_at=DAY)
    write.judged("refunds", "top_up", "top_up")
    return stored


def test_the_running_one_is_the_default(reported):
    out = reported("report").out
    assert "not enough verdicts: about 1,400 more (A = primary, B = fallback): Of 1 judged ticket" in out
    assert "Arms" not in out


def test_a_split_shows_its_arms(reported):
    out = reported("report", "--experiment", "halves").out
    assert "not enough verdicts: about 2,800 more" in out
    assert "(A = primary alone, B = primary, below 0.85 with fallback): A was right on 2 of 2" in out
    (line,) = [line for line in out.splitlines() if line.startswith("│ A ")]
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["A", "2", "2", "2", "2", "1.000 (0.342-1.000, n=2)"]


@pytest.mark.parametrize("form", ["csv", "html"])
def test_a_file_is_the_api_s(reported, form, client):
    ours = reported("report", "--experiment", "primary-or-fallback", "--format", form).out
    theirs = client.get(f"/v1/report?format={form}").text
    made = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
    assert made.sub("", ours) == made.sub("", theirs)


def test_an_unknown_experiment_is_one_sentence(reported):
    ran = reported("report", "--experiment", "x")
    assert (ran.code, ran.out) == (1, "")
    assert "There is no experiment 'x'" in ran.err


def test_an_llm_that_was_only_needed_has_no_mean_confidence(reported, sql):
    sql("UPDATE predictions SET reason = 'escalated' WHERE reason = 'shadow'")
    ran = reported("report")
    assert ran.code == 0
    assert "not measured: asked only where another was unsure" in ran.out


def test_what_is_not_counted_yet_is_told(reported, monkeypatch, database_url):
    monkeypatch.setattr(command, "CATCH_UP_S", 0.2)
    with psycopg.connect(conninfo(database_url)) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (ROLLING,))
        out = " ".join(reported("report", "--experiment", "primary-or-fallback").out.split())
    assert "Changes in 2 hours are not counted yet" in out


def test_names_are_not_markup(reported, sql):
    sql("UPDATE llm_versions SET name = '[red]' || name || '[/]' || chr(27)")
    assert "[red]primary[/] " in reported("report").out
