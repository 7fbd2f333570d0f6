"""reclassify and requeue of many tickets: which come back into the queue, which are left alone, and in whose place."""

import io
import json
import re
from uuid import uuid4

import psycopg
import pytest
from redis import Redis
from typer.main import get_command

from models.db import conninfo
from service.cli import runs as command
from service.cli.commands import application
from service.queue import QUEUE
from workers.claim import claim

SEED = """
    INSERT INTO tickets (id, source, external_id, subject, body, raw, content_sha256, shadow, shadow_rate, status,
                         attempts, lost_leases, last_error, received_at, queued_at, claimed_at, lease_id, lease_until)
    SELECT gen_random_uuid(), %s, n, '', 'text ' || n, '', '', false, 0, %s, 5, 3, 'x', now() - n * interval '1 s',
           now() - interval '1 day', now(), CASE %s WHEN 'working' THEN gen_random_uuid() END,
           CASE %s WHEN 'working' THEN now() + interval '1 h' END FROM generate_series(1, %s) n"""
STATE = "SELECT status, run, attempts, lost_leases, last_error, priority, count(*) FROM tickets"
AS_SEEDED = (1, 5, 3, "x", 1)
AGAIN = (0, 0, None, 2)


@pytest.fixture
def seed(sql):
    def make(status, count=1, source="seed"):
        sql(SEED, source, status, status, status, count)

    return make


@pytest.fixture
def state(sql):
    def read():
        return sorted(sql(f"{STATE} GROUP BY 1, 2, 3, 4, 5, 6"), key=str)

    return read


def test_requeue_brings_all_failed_tickets_back_and_nothing_else(stored, seed, state, sql):
    seed("failed", 3000)
    for status in ("done", "queued", "working"):
        seed(status, source=status)
    ran = stored("requeue", "--yes", "--json")
    assert json.loads(ran.out) == {"matched": 3000, "queued": 3000, "left_alone": {}}
    untouched = [("done", *AS_SEEDED, 1), ("queued", *AS_SEEDED, 1), ("working", *AS_SEEDED, 1)]
    assert state() == sorted([*untouched, ("queued", 1, *AGAIN, 3000)], key=str)
    assert sql("SELECT count(*) FROM tickets WHERE priority = 2 AND queued_at = due_at AND claimed_at IS NULL") == [
        (3000,)
    ]


def test_reclassify_opens_one_run_for_each_that_is_not_on_its_way(stored, seed, state):
    seed("done", 1500)
    seed("failed", 2, "failed")
    seed("queued", 3, "queued")
    seed("working", 4, "working")
    ran = stored("reclassify", "--all", "--yes")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "Queued 1,502 of 1,509 tickets.",
        "Left alone: 3 waiting already.",
        "Left alone: 4 being classified.",
    ]
    rows = [("queued", *AS_SEEDED, 3), ("queued", 2, *AGAIN, 1502), ("working", *AS_SEEDED, 4)]
    assert state() == sorted(rows, key=str)
    assert "Queued 0 of 1,509" in stored("reclassify", "--all", "--yes").out
    assert state() == sorted(rows, key=str)


def test_erased_tickets_are_left_alone_and_named(stored, seed, sql):
    seed("failed", 2)
    sql("UPDATE tickets SET erased_at = now() WHERE body = 'text 1'")
    for words in (["requeue", "--yes"], ["reclassify", "--all", "--yes"]):
        assert "Left alone: 1 erased, so there is nothing to classify." in stored(*words).out
    assert sql("SELECT body, status FROM tickets ORDER BY body") == [("text 1", "failed"), ("text 2", "queued")]


@pytest.mark.parametrize("name", ["reclassify", "requeue"])
def test_every_option_has_a_help_text(name):
    helps = {
        option.name: option.help
        for option in get_command(application()).commands[name].params
        if option.name != "ticket"
    }
    assert {"status", "label", "llm", "action"} < helps.keys()
    assert [name for name, text in helps.items() if not text] == []


def test_an_empty_search_is_not_every_ticket(stored, seed, state):
    seed("done")
    ran = stored("reclassify", "--q", "", "--yes")
    assert ran.code == 2
    assert "must hold a word to search for" in ran.err
    assert state() == [("done", *AS_SEEDED, 1)]


@pytest.mark.parametrize("worker", ["is down", "has done the first ones"])
def test_interrupted_in_the_middle_it_goes_on_where_it_stopped(stored, seed, sql, monkeypatch, worker):
    seed("done", 3000)
    real = command.queue_again

    def interrupted(*given):
        yield next(real(*given))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "queue_again", interrupted)
        ran = stored("reclassify", "--all", "--yes")
    assert ran.code == 130
    assert sql("SELECT status, run, count(*) FROM tickets GROUP BY 1, 2 ORDER BY 3") == [
        ("queued", 2, 1000),
        ("done", 1, 2000),
    ]
    on = re.search(r"Stopped after 1,000 tickets; .* (--queued-before) (\S+) goes on", ran.err).groups()
    if worker != "is down":
        sql("UPDATE tickets SET status = 'done' WHERE run = 2")
    again = stored("reclassify", "--all", "--yes", "--json", *(on if worker != "is down" else ()))
    assert json.loads(again.out)["queued"] == 2000
    assert sql("SELECT run, count(*) FROM tickets GROUP BY 1") == [(2, 3000)]


def test_rows_that_others_hold_are_passed_over_and_named(stored, seed, sql, database_url):
    seed("failed", 3)
    with psycopg.connect(conninfo(database_url)) as other:
        other.execute("SELECT FROM tickets WHERE body = 'text 2' FOR UPDATE")
        ran = stored("requeue", "--yes")
    assert ran.out.splitlines()[0] == "Queued 2 of 3 tickets."
    assert "1 changed by somebody else" in ran.out
    assert sql("SELECT body FROM tickets WHERE status = 'failed'") == [("text 2",)]
    assert "Queued 1 of 1" in stored("requeue").out


def test_filters_are_those_of_the_list_and_what_was_said_stays(stored, client, drain, sql):
    bodies = ["I want a refund", "My card has not arrived yet", "tell me a joke"]
    urls = [client.post("/v1/tickets", json={"body": body, "external_id": body}).json()["url"] for body in bodies]
    drain.run()
    client.post(f"{urls[0]}/verdicts", json={"field": "category", "label": "refunds", "source": "dataset"})
    assert "No ticket matches" in stored("reclassify", "--label", "refunds", "--until", "2026-01-01").out
    ran = stored(
        "reclassify", "--label", "refunds", "--min-confidence", "0.1", "--since", "2026-01-01", "--q", "refund"
    )
    assert "Queued 1 of 1 ticket." in ran.out
    assert sql("SELECT body FROM tickets WHERE run = 2") == [(bodies[0],)]
    drain.run()
    assert sql("SELECT run, newest FROM triages WHERE label = 'refunds' ORDER BY run") == [(1, False), (2, True)]
    assert sql("SELECT label, source FROM verdicts") == [("refunds", "dataset")]
    assert sql("SELECT count(*) FROM triages") == [(4,)]


def test_new_tickets_go_first(stored, seed, client, database, sql):
    seed("failed", 5)
    stored("requeue", "--yes")
    client.post("/v1/tickets", json={"body": "new"})
    assert [ticket.body for ticket in claim(database, 1).tickets] == ["new"]


@pytest.mark.parametrize(("name", "run"), [("requeue", 1), ("reclassify", 2)])
def test_one_ticket_by_its_id_keeps_its_place(stored, seed, state, sql, name, run):
    seed("failed", 2)
    ((ticket,),) = sql("SELECT id FROM tickets WHERE body = 'text 1'")
    assert "Queued 1 of 1" in stored(name, ticket).out
    assert state() == sorted([("failed", *AS_SEEDED, 1), ("queued", run, 0, 0, None, 1, 1)], key=str)
    assert "1 waiting already" in stored(name, ticket).out
    ran = stored(name, uuid4())
    assert ran.code == 1
    assert "There is no ticket" in ran.err


def test_a_done_ticket_is_not_requeued(stored, seed, state, sql):
    seed("done")
    ((ticket,),) = sql("SELECT id FROM tickets")
    assert "Left alone: 1 done, not failed." in stored("requeue", ticket).out
    assert state() == [("done", *AS_SEEDED, 1)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["reclassify"], "--all"),
        (["reclassify", "--yes"], "--all"),
        (["reclassify", "--status", "lost"], "--status"),
        (["requeue", "--min-confidence", "much"], "--min-confidence"),
        (["requeue", "--max-confidence", "2"], "--max-confidence"),
        (["reclassify", "--since", "yesterday"], "--since"),
        (["reclassify", "--since", "2026"], "--since: must be a time with its zone"),
        (["requeue", "--until", "1767225600"], "--until: must be a time with its zone"),
        (["reclassify", "--all", "--queued-before", "soon"], "--queued-before"),
        (["reclassify", "--source", "a\0b"], "--source"),
        (["requeue", "nonsense"], "[ticket]"),
        (["requeue"], "--yes"),
        (["reclassify", "--all"], "--yes"),
    ],
)
def test_wrong_usage_changes_nothing(stored, seed, state, words, names):
    seed("failed", 2)
    ran = stored(*words)
    assert ran.code == 2
    assert names in ran.err
    assert state() == [("failed", *AS_SEEDED, 2)]


@pytest.mark.parametrize(("said", "code", "status"), [("y\n", 0, "queued"), ("n\n", 1, "failed"), ("", 1, "failed")])
def test_on_a_terminal_it_asks_first(stored, seed, sql, monkeypatch, said, code, status):
    seed("failed", 2)
    terminal = io.StringIO(said)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    ran = stored("requeue")
    assert ran.code == code
    assert "2 tickets match and go back into the queue" in ran.err
    assert sql("SELECT DISTINCT status FROM tickets") == [(status,)]


def test_workers_are_told_where_redis_answers(stored, seed, servers, monkeypatch):
    seed("failed", 2)
    with Redis.from_url(servers.redis_url) as redis:
        redis.delete(QUEUE)
        assert stored("requeue", "--yes").code == 0
        assert redis.llen(QUEUE) == 1
    monkeypatch.setenv("TRIAGE_REDIS_URL", "redis://127.0.0.1:9")
    ran = stored("reclassify", "--all", "--yes")
    assert (ran.code, ran.err.strip()) == (0, "")
