"""Redis or Postgres killed, frozen or stopped while helpdesks post: nothing accepted is lost or recorded twice.

Without Redis the answer is still 202 and tickets are still classified; without Postgres it is 503 with Retry-After.
"""

import signal

import psutil
import pytest
from moments import frozen
from posters import Posters
from processes import Up, eventually, gone

BOUND_S = 10


def all_were_taken(posters: Posters) -> None:
    """Every answer was a 202 in bounded time, and each ticket is one row."""
    answers = posters.stop()
    assert {answer.status for answer in answers} == {202}
    assert max(answer.seconds for answer in answers) < BOUND_S
    assert posters.lost() == []
    assert posters.rows_of_each() == {1}


def test_redis_killed(up: Up, posters: Posters) -> None:
    posters.until_answered(20)
    old = up.send("redis", signal.SIGKILL)
    posters.until_answered(20)
    eventually(lambda: gone([old]))
    assert up.part("redis").pid != old.pid
    posters.until_answered(20)
    all_were_taken(posters)
    up.until("ok")


def test_redis_frozen(up: Up, posters: Posters) -> None:
    posters.until_answered(20)
    redis = up.send("redis", signal.SIGSTOP)
    try:
        posters.until_answered(100)
        classified = up.one("SELECT count(*) FROM triages")
        eventually(lambda: "Redis does not answer" in str(up.until("degraded")["missing"]), why="it was never said")
        eventually(lambda: up.one("SELECT count(*) FROM triages") > classified, why="nothing is classified meanwhile")
    finally:
        redis.send_signal(signal.SIGCONT)
    posters.until_answered(20)
    all_were_taken(posters)
    assert up.part("redis").pid == redis.pid
    up.until("ok")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_postgres_gone_and_back(up: Up, posters: Posters, how: signal.Signals) -> None:
    posters.until_answered(20)
    with frozen(psutil.Process(up.pid)):  # it starts no other before some were refused
        old = up.send("postgres", how)
        posters.until_answered(3, status=503)
    eventually(lambda: gone([old]))
    posters.until_answered(20)
    answers = posters.stop()
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} == {202, 503}
    assert {(a.headers or {}).get("content-type") for a in refused} == {"application/problem+json"}
    assert {(a.headers or {}).get("retry-after") for a in refused} == {"5"}
    posters.send_again()
    assert posters.lost() == []
    assert posters.rows_of_each() == {1}
    up.expire_leases()


def test_one_backend_killed(up: Up, posters: Posters) -> None:
    """Postgres then throws every session out and repairs itself."""
    posters.until_answered(20)
    backend = up.one("SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'triage-door'")
    assert backend is not None
    psutil.Process(backend).kill()
    posters.until_answered(20)
    assert {answer.status for answer in posters.stop()} <= {202, 503}
    posters.send_again()
    assert posters.rows_of_each() == {1}
    up.expire_leases()
