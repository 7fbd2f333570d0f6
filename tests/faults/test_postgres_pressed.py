"""Postgres away for longer than any timeout, with every connection taken, or with a reader that never ends."""

import signal
import time
from contextlib import ExitStack

import psutil
import psycopg
from posters import Posters
from processes import Up, eventually, gone
from test_worker_faults import frozen_in_mid_batch

from models.db import conninfo

AWAY_S = 11.0
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'triage%'"
OPEN = "SELECT count(*) FROM tickets WHERE status <> 'done' AND id = ANY(%s)"
END_OURS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'triage%'"


def only_late(posters: Posters) -> None:
    """Every refused post was told to come again; sent again, each is one row, and no accepted one is lost."""
    refused = [answer for answer in posters.stop() if answer.status == 503]
    assert {answer.status for answer in posters.answers} == {202, 503}
    assert {(answer.headers or {}).get("retry-after") for answer in refused} == {"5"}
    posters.send_again()
    assert posters.lost() == []
    assert posters.rows_of_each() == {1}


def test_postgres_away_for_longer_than_ten_seconds(up: Up, posters: Posters) -> None:
    """In flight: four posts at a time, and a batch that is scored and written all the same; nobody claims it again.

    `up` is frozen, so that it does not start another.
    """
    posters.until_answered(20)
    worker = frozen_in_mid_batch(up)
    held = dict(up.sql("SELECT id, claimed_at FROM tickets WHERE status = 'working'"))
    psutil.Process(up.pid).send_signal(signal.SIGSTOP)
    try:
        old = up.send("postgres", signal.SIGKILL)
        worker.send_signal(signal.SIGCONT)
        eventually(lambda: gone([old]))
        until = time.monotonic() + AWAY_S
        eventually(lambda: time.monotonic() > until)
        posters.until_answered(3, status=503)
    finally:
        psutil.Process(up.pid).send_signal(signal.SIGCONT)
    posters.until_answered(20)
    only_late(posters)
    eventually(lambda: up.one(OPEN, list(held)) == 0, why="what was scored meanwhile was not written")
    assert dict(up.sql("SELECT id, claimed_at FROM tickets WHERE id = ANY(%s)", list(held))) == held
    assert up.one("SELECT sum(lost_leases) FROM tickets") == 0


def test_every_connection_taken(up: Up, posters: Posters) -> None:
    """In flight: four posts, while strangers hold every connection that Postgres has, ours too."""
    posters.until_answered(20)
    address = conninfo(up.database_url())
    with psycopg.connect(address, autocommit=True) as admin, ExitStack() as strangers:

        def all_taken() -> bool:
            admin.execute(END_OURS)
            try:
                while True:
                    strangers.enter_context(psycopg.connect(address, application_name="stranger"))
            except psycopg.OperationalError:
                row = admin.execute(OURS).fetchone()
                return row == (0,)

        eventually(all_taken, why="our processes always found a connection")
        posters.until_answered(3, status=503)
    posters.until_answered(20)
    only_late(posters)
    up.until("ok")
    up.expire_leases()


def test_a_report_open_for_a_whole_drain(up: Up) -> None:
    """In flight: a transaction that has read every table, before the first of the tickets came and after the last."""
    counts = "SELECT (SELECT count(*) FROM tickets), (SELECT count(*) FROM predictions), (SELECT count(*) FROM triages)"
    with psycopg.connect(conninfo(up.database_url())) as report:
        report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        before = report.execute(counts).fetchone()
        ids = up.post_many(200, "Classified while somebody reads")
        done = "SELECT count(*) FROM tickets WHERE status = 'done' AND id = ANY(%s)"
        eventually(lambda: up.one(done, ids) == len(ids), why="a reader holds the drain up")
        with up.client() as client:
            assert client.get("/v1/report").status_code == 200
        assert report.execute(counts).fetchone() == before
        ((tickets, _, triages),) = up.sql(counts)
    assert before is not None
    assert (tickets - before[0], triages - before[2]) == (len(ids), len(ids))
