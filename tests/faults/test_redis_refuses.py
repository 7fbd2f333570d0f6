"""A Redis that answers, but not as it should: emptied, read-only, full; and bells that come twice or too late."""

from collections.abc import Callable

import pytest
from posters import Posters
from processes import Up, eventually
from redis import Redis

from service.queue import QUEUE, TaskName, celery_app, connect

MANY = 200
ALL_RESULTS = """SELECT (SELECT count(*) FROM predictions), (SELECT count(*) FROM triages),
                        (SELECT max(id) FROM predictions), (SELECT max(id) FROM triages)"""
FAULTS: dict[str, tuple[Callable[[Redis], object], Callable[[Redis], object]]] = {
    "emptied": (lambda redis: redis.flushall(), lambda redis: redis.ping()),
    "read-only": (lambda redis: redis.replicaof("127.0.0.1", 1), lambda redis: redis.replicaof("NO", "ONE")),
    "full": (lambda redis: redis.config_set("maxmemory", 1), lambda redis: redis.config_set("maxmemory", "64mb")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nobody_notices(up: Up, posters: Posters, fault: str) -> None:
    """In flight: four posts, and tickets with the worker, which afterwards is the same process and hears bells."""
    break_, mend = FAULTS[fault]
    worker = up.part("worker").pid
    posters.until_answered(20)
    with connect(up.redis_url()) as redis:
        break_(redis)
        try:
            classified = up.one("SELECT count(*) FROM triages")
            posters.until_answered(100)
            eventually(lambda: up.one("SELECT count(*) FROM triages") > classified, why="nothing is classified")
        finally:
            mend(redis)
        posters.until_answered(20)
        assert {answer.status for answer in posters.stop()} == {202}
        eventually(lambda: redis.llen(QUEUE) == 0, why="the worker hears no bell any more")
    assert posters.rows_of_each() == {1}
    assert up.part("worker").pid == worker


def test_bells_that_come_twice_and_too_late(up: Up) -> None:
    """In flight: two hundred tickets, with a bell for each; then as many bells for nothing."""
    with celery_app(up.redis_url()) as app, connect(up.redis_url()) as redis:
        up.post_many(MANY, "Rung for again and again")
        ring(app)
        eventually(lambda: up.one("SELECT count(*) FROM tickets WHERE status <> 'done'") == 0)
        before = up.sql(ALL_RESULTS)
        ring(app)
        eventually(lambda: redis.llen(QUEUE) == 0, why="the worker does not read the bells")
    assert up.sql(ALL_RESULTS) == before


def ring(app) -> None:
    for _ in range(MANY):
        app.send_task(TaskName.CLASSIFY_DUE, queue=QUEUE)
