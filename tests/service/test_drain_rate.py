"""A full queue says when to come back, from what the workers' heartbeats say of the last minute."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from models.db import conninfo
from models.errors import QueueFull
from service.intake.depth import Depth
from service.intake.drain_rate import LEAST_S, MOST_S, UNKNOWN_S, DrainRate
from workers.figures import Figures


def heard(*rounds):
    made = DrainRate()
    for workers in rounds:
        made.heard(workers)
    return made


@pytest.mark.parametrize(
    ("rounds", "rate"),
    [
        ([], None),
        ([[("a", 100, 7)]], None),
        ([[("a", 100, 7)], [("a", 100, 7)]], None),  # the same heartbeat, read twice
        ([[("a", 100, 7)], [("a", 105, 17)]], 2.0),
        ([[("a", 100, 7)], [("a", 105, 17)], [("a", 110, 17)]], 1.0),
        ([[("a", 100, 7), ("b", 90, 0)], [("a", 105, 17), ("b", 94, 12)]], 5.0),
        ([[("a", 100, 7)], [("a", 105, 17), ("new", 105, 1000)]], 2.0),
        ([[("a", 100, 7)], [("a", 105, 17)], [("b", 105, 0)]], None),  # the one that worked has gone
        ([[("a", 100, 7)], [("a", 105, 7)]], 0.0),
        ([[("a", 0, 0)], [("a", 50, 1000)], [("a", 100, 1050)]], 1.0),  # of the last minute alone
    ],
)
def test_the_rate_is_what_all_live_workers_recorded_in_the_last_minute(rounds, rate):
    assert heard(*rounds).per_second() == rate


def test_what_is_kept_is_a_minute_of_each_live_worker():
    made = heard(*[[("a", at, at), (f"gone {at}", at, 0)] for at in range(0, 1000, 5)])
    assert {worker: len(beats) for worker, beats in made.beats.items()} == {"a": 13, "gone 995": 1}


@pytest.mark.parametrize(
    ("tickets", "rounds", "seconds"),
    [
        (10, [[("a", 0, 0)], [("a", 10, 40)]], 3),
        (1, [[("a", 0, 0)], [("a", 10, 40)]], LEAST_S),
        (100_000, [[("a", 0, 0)], [("a", 10, 40)]], MOST_S),
        (1, [[("a", 0, 0)], [("a", 10, 0)]], MOST_S),
        (1, [], UNKNOWN_S),
    ],
)
def test_a_caller_is_told_a_bounded_whole_number(tickets, rounds, seconds):
    assert heard(*rounds).seconds_for(tickets) == seconds


WORKER = """
    INSERT INTO workers (host, id, pid, llms, figures, seen_at)
    VALUES (%s, gen_random_uuid(), 1, '{}', %s, now() + interval '1 hour')"""
BEAT = "UPDATE workers SET figures = %s, seen_at = seen_at + interval '10 s' WHERE host = 'counts'"


def figures(recorded):
    """What a worker's heartbeat carries after so many tickets."""
    made = Figures()
    for _ in range(recorded):
        made.labelled(1.0, 2.0)
    return json.dumps(made.dump())


async def until(true):
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("limit", "asked", "seconds"), [(10, 11, 2), (10, 13, 6), (1_000, 1_001, 20), (10, 5_000, 300)]
)
def test_a_refused_caller_is_told_when_there_will_be_room(database_url, sql, limit, asked, seconds):
    async def refused():
        depth = Depth(conninfo(database_url), limit)
        try:
            await until(lambda: len(depth.drain_rate.beats) == 2)
            sql(BEAT, figures(8))
            await until(lambda: depth.drain_rate.per_second() is not None)
            with pytest.raises(QueueFull) as error:
                depth.admit(asked)
            return depth.drain_rate.per_second(), error.value.retry_after
        finally:
            await depth.close()

    sql(WORKER, "counts", figures(3))
    sql(WORKER, "is of another release", "{}")
    assert asyncio.run(refused()) == (0.5, seconds)


def test_a_queue_that_cannot_be_counted_is_told_when_that_begins_and_when_it_is_over(database_url, sql, monkeypatch):
    """Though Postgres lets it in each time: the table is away."""
    monkeypatch.setattr("service.intake.depth.INTERVAL_S", 0.01)
    monkeypatch.setattr("service.intake.depth.COUNT", "SELECT count(*) FROM waiting WHERE %s > 0")

    async def looked():
        depth = Depth(conninfo(database_url), 10)
        try:
            await until(lambda: "depth.postgres_away" in told())
            await asyncio.sleep(0.3)  # in which it looks again and again
            sql("CREATE TABLE waiting AS SELECT 1")
            await until(lambda: "depth.postgres_back" in told())
        finally:
            await depth.close()

    with capture_logs() as lines:
        told = lambda: [line["event"] for line in lines]  # noqa: E731
        asyncio.run(looked())
    assert told() == ["depth.postgres_away", "depth.postgres_back"]
