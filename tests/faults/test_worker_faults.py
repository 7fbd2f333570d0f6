"""A worker killed, frozen past its lease or told to stop in the middle of a batch: each result is recorded once."""

import signal
import subprocess

import psutil
import pytest
from posters import LONG
from processes import Up, eventually, gone

MANY = 100
WORKING = "SELECT count(*) FROM tickets WHERE status = 'working'"
WAITING = "SELECT count(*) FROM tickets WHERE status = 'queued'"
HELD = 20  # what four slots cannot finish while a thawed worker hears its signal
# A worker frozen inside a transaction (test_frozen_moments.py) holds its rows until Postgres ends the session.
BETWEEN = """SELECT count(*) = 0 FROM pg_stat_activity
             WHERE application_name = 'triage' AND (state = 'active' OR state LIKE 'idle in transaction%%')"""
ALL_RESULTS = """SELECT (SELECT count(*) FROM predictions), (SELECT count(*) FROM triages),
                        (SELECT max(id) FROM predictions), (SELECT max(id) FROM triages)"""


def frozen_in_mid_batch(up: Up) -> psutil.Process:
    """The worker, stopped while it holds many more tickets than it has begun and no transaction, and others wait."""
    worker = up.part("worker")

    def held() -> bool:
        if up.one(WAITING) == 0:  # it was faster than we looked
            up.post_many(MANY, LONG)
        worker.send_signal(signal.SIGSTOP)
        eventually(lambda: worker.status() == psutil.STATUS_STOPPED)
        if up.one(WORKING) > HELD and up.one(WAITING) > 0 and up.one(BETWEEN):
            return True
        worker.send_signal(signal.SIGCONT)
        return False

    eventually(held, why="the worker is never in mid-batch")
    return worker


def test_killed_in_mid_batch(up: Up) -> None:
    worker = frozen_in_mid_batch(up)
    held = up.sql("SELECT id FROM tickets WHERE status = 'working'")
    worker.kill()
    eventually(lambda: gone([worker]))
    assert up.sql("SELECT id FROM tickets WHERE status = 'working'") == held
    up.expire_leases()
    assert up.part("worker").pid != worker.pid


def test_frozen_past_its_lease(up: Up, request: pytest.FixtureRequest) -> None:
    worker = frozen_in_mid_batch(up)
    held = [row[0] for row in up.sql("SELECT id FROM tickets WHERE status = 'working'")]
    up.expire_leases()
    second: subprocess.Popen[bytes] = request.getfixturevalue("second_worker")
    eventually(lambda: up.one("SELECT count(*) FROM tickets WHERE status <> 'done'") == 0)
    before = up.sql(ALL_RESULTS), up.sql("SELECT id, done_at FROM tickets ORDER BY id")
    assert len(held) > HELD

    lost = up.output().count("lease.lost")
    worker.send_signal(signal.SIGCONT)
    eventually(lambda: up.output().count("lease.lost") > lost, why="the frozen worker never tried to write")
    assert (up.sql(ALL_RESULTS), up.sql("SELECT id, done_at FROM tickets ORDER BY id")) == before

    second.terminate()
    assert second.wait(20) == 0
    (new,) = up.post_many(1, "Is the thawed worker well?")
    eventually(lambda: up.one("SELECT status FROM tickets WHERE id = %s", new) == "done")
    assert up.part("worker").pid == worker.pid


def test_told_to_stop_in_mid_batch(up: Up) -> None:
    """What was not begun goes back at once, free for others. `up` is frozen meanwhile, so that it starts no other."""
    worker = frozen_in_mid_batch(up)
    psutil.Process(up.pid).send_signal(signal.SIGSTOP)
    try:
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGCONT)
        eventually(lambda: gone([worker]))
        assert up.one(WORKING) == 0
        given_back = "status = 'queued' AND claimed_at IS NOT NULL"
        assert up.one(f"SELECT count(*) FROM tickets WHERE {given_back}") > 0
        assert up.sql(
            f"SELECT DISTINCT lease_id, lease_until, attempts, due_at <= now() FROM tickets WHERE {given_back}"
        ) == [(None, None, 0, True)]
        assert worker.pid not in [row[0] for row in up.sql("SELECT pid FROM workers")]
    finally:
        psutil.Process(up.pid).send_signal(signal.SIGCONT)
