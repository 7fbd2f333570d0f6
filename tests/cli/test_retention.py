"""retention deletes what is old with all that was said of it, in whole batches, and goes on after a kill."""

import io
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from processes import TRIAGE, eventually
from written import Written

from models.db import conninfo
from service.cli import retention as command
from service.tickets import retention

BATCH = 100
# Old ones of before 2026, the newest first, each with one row in every other table.
OLD = """
    INSERT INTO tickets (id, source, external_id, subject, body, raw, content_sha256, shadow, shadow_rate, status,
                         received_at)
    SELECT gen_random_uuid(), 'old', n, '', 'old ' || n, '', '', false, 0, 'done', now() - interval '13 months'
           - n * interval '1 s' FROM generate_series(1, %s) n"""
CHILDREN = [
    """INSERT INTO predictions (ticket_id, run, field, llm_version_id, taxonomy_version, role, reason, label,
                                calibrated, scores, scores_complete)
       SELECT id, 1, 'category', l.max, 1, 'primary', 'assigned', 'refunds', true, '{}', true
       FROM tickets, (SELECT max(id) FROM llm_versions) l WHERE source = 'old'""",
    """INSERT INTO triages (ticket_id, run, field, taxonomy_version, label, calibrated, decided_by, llms, action,
                            reason, alternatives, wait_ms, time_to_label_ms, received_at)
       SELECT id, 1, 'category', 1, 'refunds', true, 'cascade', '{primary}', 'suggest', 'x', '[]', 1, 2,
              received_at FROM tickets WHERE source = 'old'""",
    """INSERT INTO verdicts (ticket_id, content_sha256, field, label, source, taxonomy_version)
       SELECT id, '', 'category', 'refunds', 'dataset', 1 FROM tickets WHERE source = 'old'""",
    """INSERT INTO revisions (ticket_id, run, subject, body, raw, content_sha256)
       SELECT id, 1, '', 'older', '', '' FROM tickets WHERE source = 'old'""",
]
TABLES = ("tickets", "predictions", "triages", "verdicts", "revisions")


@pytest.fixture
def seed(sql):
    """Old tickets with all that can be said of them, and one of today that was judged."""
    write = Written(sql)

    def make(count):
        sql(OLD, count)
        for statement in CHILDREN:
            sql(statement)

    write.judged("refunds", "top_up", "refunds")
    return make


@pytest.fixture
def counts(sql):
    def read():
        return [sql(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]

    return read


TODAY = [1, 2, 1, 1, 0]


def with_old(count):
    return [today + count for today in TODAY]


def test_old_tickets_go_with_all_that_was_said_of_them(stored, seed, counts, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", BATCH)
    seed(2_500)
    assert json.loads(stored("retention", "--months", 14, "--yes", "--json").out)["deleted"] == 0
    dry = stored("retention", "--months", 12, "--dry-run")
    assert dry.out == "2,500 tickets received more than 12 months ago would be deleted.\n"
    assert counts() == with_old(2_500)
    assert (
        stored("retention", "--months", 12, "--yes").out == "Deleted 2,500 tickets received more than 12 months ago.\n"
    )
    assert counts() == TODAY
    assert "Deleted 0 tickets" in stored("retention", "--months", 12, "--yes").out


def test_no_table_that_hangs_on_tickets_is_forgotten(sql):
    hang = "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND confrelid = 'tickets'::regclass"
    assert {table for (table,) in sql(hang)} == set(retention.CHILDREN)


def test_the_limit_is_the_full_hour_a_calendar_month_ago_by_the_databases_clock(stored, sql):
    write = Written(sql)
    for off in ("1 hour", "-1 microsecond"):  # an hour, since one may end before the command looks at the clock
        full = "date_trunc('hour', now() - interval '3 months', 'UTC')"
        ((received,),) = sql(f"SELECT {full} + CAST(%s AS interval)", off)
        write.ticket(off, received_at=received)
    assert "Deleted 1 ticket " in stored("retention", "--months", 3, "--yes").out
    assert sql("SELECT body FROM tickets") == [("1 hour",)]


def test_the_report_says_what_it_said_before(stored, seed, client):
    seed(30)
    both = client.get("/v1/report").json()
    assert (both["tickets"]["received"], both["cascade"]["accuracy"][0]["n"]) == (31, 31)
    stored("retention", "--months", 12, "--yes")
    left = client.get("/v1/report").json()
    assert (both["counted"]["deleted"], left["counted"]["deleted"]["tickets"]) == (None, 30)
    without = {"generated_at": None, "counted": None}
    assert left | without == both | without


@pytest.mark.parametrize("status", ["queued", "working"])
def test_a_ticket_on_its_way_stays(stored, sql, status):
    write = Written(sql)
    lease = {"lease_id": "01a1feef-60f3-7010-b789-e50222ae6516"} if status == "working" else {}
    for state, more in (("failed", {}), (status, lease)):
        write.ticket(state, received_at="2020-01-31T00:00:00Z", status=state, **more)
    ran = stored("retention", "--months", 1, "--yes")
    assert ran.out.splitlines() == [
        "Deleted 1 ticket received more than 1 month ago.",
        "Left alone: 1 that wait or are being classified.",
    ]
    assert sql("SELECT body FROM tickets") == [(status,)]


def test_rows_that_others_hold_are_passed_over_and_named(stored, seed, sql, counts, database_url):
    seed(3)
    with psycopg.connect(conninfo(database_url)) as other:
        other.execute("SELECT FROM tickets WHERE body = 'old 2' FOR UPDATE")
        ran = stored("retention", "--months", 12, "--yes")
    assert ran.out.splitlines() == [
        "Deleted 2 tickets received more than 12 months ago.",
        "Left alone: 1 in use at this moment; run it again for these.",
    ]
    assert counts() == with_old(1)
    assert "Deleted 1 ticket " in stored("retention", "--months", 12, "--yes").out


@contextmanager
def stuck_in_the_second_batch(sql: Callable, url: str) -> Iterator[None]:
    """Holds a prediction that the second batch must delete."""
    with psycopg.connect(conninfo(url)) as other:
        other.execute(
            "SELECT FROM predictions WHERE ticket_id = (SELECT id FROM tickets ORDER BY received_at OFFSET %s LIMIT 1)"
            " FOR UPDATE",
            (retention.BATCH + 1,),
        )
        yield


WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'triage'"


def test_killed_in_the_middle_whole_batches_are_gone_and_the_same_goes_on(
    stored, seed, sql, counts, database_url, tmp_path
):
    seed(2 * retention.BATCH + 5)
    words = [*TRIAGE, "retention", "--months", "12", "--yes"]
    with stuck_in_the_second_batch(sql, database_url):
        with (tmp_path / "printed").open("wb") as printed:
            running = subprocess.Popen(words, stdout=printed, stderr=printed, env=os.environ, cwd=tmp_path)
        eventually(lambda: sql(WAITS) == [(1,)] or running.poll() is not None)
        assert running.poll() is None, (tmp_path / "printed").read_text()
        assert counts() == with_old(retention.BATCH + 5)
        running.kill()
        running.wait(30)
    eventually(lambda: sql(BACKENDS) == [(0,)], why="its connection to Postgres did not end")
    assert counts() == with_old(retention.BATCH + 5)
    again = json.loads(stored("retention", "--months", "12", "--yes", "--json").out)
    assert (again["deleted"], again["left"]) == (retention.BATCH + 5, 0)
    assert counts() == TODAY


def test_interrupted_it_says_how_to_go_on(stored, seed, counts, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", BATCH)
    seed(250)
    real = command.delete_old

    def interrupted(*given):
        yield next(real(*given))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "delete_old", interrupted)
        ran = stored("retention", "--months", 12, "--yes")
    assert ran.code == 130
    assert "Stopped after 100 tickets; the same command goes on." in ran.err
    assert counts() == with_old(150)
    assert "Deleted 150 tickets" in stored("retention", "--months", 12, "--yes").out


def test_a_ticket_sent_again_while_it_is_deleted_is_a_new_one(client, sql, database_url):
    given = {"body": "first", "external_id": "E-1"}
    old = client.post("/v1/tickets", json=given).json()["id"]
    answers = []
    with psycopg.connect(conninfo(database_url)) as deleting:
        deleting.execute("SELECT FROM tickets FOR UPDATE")
        again = threading.Thread(
            target=lambda: answers.append(client.post("/v1/tickets", json=given | {"body": "again"}))
        )
        again.start()
        eventually(lambda: sql(WAITS) == [(1,)])
        deleting.execute("DELETE FROM tickets")
    again.join()
    (answer,) = answers
    assert (answer.status_code, answer.json()["id"] != old) == (202, True)
    assert sql("SELECT body, run FROM tickets") == [("again", 1)]


@pytest.mark.parametrize(("said", "code", "left"), [("y\n", 0, TODAY), ("n\n", 1, with_old(2))])
def test_on_a_terminal_it_asks_first(stored, seed, counts, monkeypatch, said, code, left):
    seed(2)
    terminal = io.StringIO(said)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    ran = stored("retention", "--months", 12)
    assert (ran.code, counts()) == (code, left)
    assert "2 tickets received before" in ran.err
    assert stored("retention", "--months", 12, "--yes").code == 0
    assert counts() == TODAY


@pytest.mark.parametrize("count", [1, 2])
def test_without_a_terminal_it_deletes_only_when_told_yes(stored, seed, counts, monkeypatch, count):
    seed(count)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    ran = stored("retention", "--months", 12)
    assert (ran.code, counts()) == (2, with_old(count))
    said = " ".join(ran.err.replace("│", " ").split())  # in a box, as wide as the terminal
    assert "would be deleted for good: without a terminal, say --yes." in said
    assert stored("retention", "--months", 12, "--yes").code == 0
    assert counts() == TODAY


@pytest.mark.parametrize("words", [[], ["--months", "0"], ["--months", "some"], ["--months", "1201"]])
def test_wrong_usage_deletes_nothing(stored, seed, counts, words):
    seed(2)
    assert stored("retention", *words).code == 2
    assert counts() == with_old(2)
