"""Killed while claiming, while writing, before the commit of a post, and between its commit and its answer."""

import signal
import threading

import pytest
from moments import ACCEPTING, CLAIMING, COMMITTING, WRITING, held_at, until_held, until_through
from posters import Answer, send
from processes import Up, eventually, gone

MANY = 100
LEFT = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
STATES = "SELECT status, count(*) FROM tickets WHERE id = ANY(%s) GROUP BY status"


def backends(up: Up, name: str) -> list[int]:
    return [pid for (pid,) in up.sql("SELECT pid FROM pg_stat_activity WHERE application_name = %s", name)]


def test_a_worker_killed_while_it_claims_has_claimed_nothing(up: Up) -> None:
    """In flight: a hundred tickets, of which it has changed some and committed none."""
    with held_at(up, CLAIMING):
        ids = up.post_many(MANY, "Claimed by a worker that dies")
        until_held(up, "triage")
        worker, its = up.send("worker", signal.SIGKILL), backends(up, "triage")
        eventually(lambda: gone([worker]))
        assert up.sql(STATES, ids) == [("queued", MANY)]
        up.sql("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", its)
        eventually(lambda: up.one(LEFT, its) == 0)
        assert up.sql(STATES, ids) == [("queued", MANY)]


def test_a_worker_killed_while_it_writes_has_written_nothing(up: Up) -> None:
    """In flight: one batch, scored, its tickets done and its predictions there for nobody else to see."""
    with held_at(up, WRITING):
        ids = up.post_many(MANY, "Written by a worker that dies")
        until_held(up, "triage")
        held = [ticket_id for (ticket_id,) in up.sql("SELECT id FROM tickets WHERE status = 'working'")]
        worker = up.send("worker", signal.SIGKILL)
        eventually(lambda: gone([worker]))
    until_through(up, "triage")
    assert held
    assert set(map(str, held)) <= set(ids)
    assert up.sql(STATES, held) == [("working", len(held))]
    written = "SELECT count(*) FROM {} WHERE ticket_id = ANY(%s)"
    assert [up.one(written.format(table), held) for table in ("predictions", "triages")] == [0, 0]
    up.expire_leases()


@pytest.mark.parametrize(("moment", "rows"), [(ACCEPTING, {0, 1}), (COMMITTING, {1})], ids=["writing", "committing"])
def test_an_api_killed_before_its_answer(up: Up, moment: str, rows: set[int]) -> None:
    """In flight: one post. Neither caller nor workers are told what became of it: what is there is done all the same.

    A write that was one statement is finished by Postgres without whoever sent it; a longer one is undone.
    """
    body, answers = f"Posted to an API that dies {rows}", list[Answer]()
    of_it = "SELECT count(*) FROM tickets WHERE body = %s"
    with up.client() as client:
        with held_at(up, moment):
            post = threading.Thread(target=lambda: answers.append(send(client, body)))
            post.start()
            until_held(up, "triage-door")
            assert up.one(of_it, body) == 0
            api, its = up.send("serve", signal.SIGKILL), backends(up, "triage-door")
            eventually(lambda: gone([api]))
            post.join()
        eventually(lambda: up.one(LEFT, its) == 0)
        assert [answer.status for answer in answers] == [None]
        found = up.one(of_it, body)
        assert found in rows
        eventually(lambda: up.one(of_it + " AND status = 'done'", body) == found)
        up.until("ok")
        again = [send(client, body) for _ in range(2)]
    assert [answer.status for answer in again] == [202, 202]
    assert up.sql("SELECT id::text FROM tickets WHERE body = %s", body) == [(again[0].id,)]
    assert again[0].id == again[1].id
