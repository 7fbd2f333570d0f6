"""A Redis that is away for long fills no log: a line when it begins, one a minute, one when it is back."""

import logging
import time

import pytest
from billiard.exceptions import RestartFreqExceeded
from structlog.testing import capture_logs

from service.outage import Outage
from service.queue import QUEUE, Bell, connect
from workers import losses
from workers.losses import CONSUMER, Losses


@pytest.fixture
def read_only(servers):
    """The tests' Redis reads only, until what this gives is called; without bells, of which a few are enough."""
    with connect(servers.redis_url) as redis:
        redis.delete(QUEUE)
        redis.replicaof("127.0.0.1", 1)
        try:
            yield lambda: redis.replicaof("NO", "ONE")
        finally:
            redis.replicaof("NO", "ONE")


@pytest.fixture
def consumer(servers, monkeypatch):
    """Celery's own logger, as in a worker."""
    monkeypatch.setattr(losses, "LOOK_S", 0.01)
    logger, made = logging.getLogger(CONSUMER), Losses(servers.redis_url)
    logger.addFilter(made)
    yield logger
    logger.removeFilter(made)


def told(lines):
    return [line["event"] for line in lines if line["event"].startswith("redis.")]


def until_told(lines, event):
    deadline = time.monotonic() + 60
    while event not in told(lines):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_celery_says_once_that_redis_is_away_and_we_say_that_it_is_back(read_only, consumer, caplog):
    with capture_logs() as lines:
        for _ in range(50):
            consumer.warning("%s (%r)", "consumer: Connection to broker lost.", ConnectionError("gone"))
            consumer.critical("Frequent restarts detected: %r", RestartFreqExceeded("5 in 1s"), exc_info=1)
        assert told(lines) == ["redis.away"]
        read_only()
        until_told(lines, "redis.back")
    assert told(lines) == ["redis.away", "redis.back"]
    assert caplog.records == []


def test_what_else_celery_says_is_left_alone(consumer, caplog):
    consumer.error("Received unregistered task of type %s", "x")
    consumer.warning("nothing to fill in")
    assert [record.getMessage() for record in caplog.records] == [
        "Received unregistered task of type x",
        "nothing to fill in",
    ]


def test_the_bell_says_once_that_redis_is_away_and_once_that_it_is_back(read_only, servers):
    bell = Bell(servers.redis_url)
    with capture_logs() as lines:
        for _ in range(5):
            bell._publish()
        assert told(lines) == ["redis.away"]
        read_only()
        for _ in range(5):
            bell._publish()
    assert told(lines) == ["redis.away", "redis.back"]
    bell.redis.delete(QUEUE)
    bell.redis.close()
    bell.app.close()


def test_what_lasts_is_told_once_a_minute():
    now = [0.0]
    outage = Outage(lambda: now[0])
    assert not outage.over()
    seen = []
    for now[0] in range(150):
        seen += [now[0]] if outage.lasts() else []
    assert seen == [0, 60, 120]
    assert [outage.over(), outage.over()] == [True, False]
    assert outage.lasts()
