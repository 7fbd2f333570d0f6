"""What waits at the door is bounded in requests and in bytes: 429 beyond, nothing of it kept, and room again after."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from doors import all_at_once, door, submission
from processes import eventually

from models.errors import QueueFull, Unavailable
from service.intake.door import WRITERS, Door

BODY = "ten bytes."
ROOM = 3
BOUNDS = [("PENDING", ROOM), ("PENDING_BYTES", (WRITERS + ROOM) * len(BODY))]
DOORS = "FROM pg_stat_activity WHERE application_name = 'triage-door' AND datname = current_database()"
HELD = f"SELECT count(*) {DOORS} AND wait_event = 'advisory'"
# As long as a lock of its own is held, no insert goes on, however short the door's patience for locks is.
GATE = """
    CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$"""
TRIGGER = "CREATE TRIGGER gate BEFORE INSERT ON tickets FOR EACH STATEMENT EXECUTE FUNCTION gate()"


@pytest.fixture
def hold(sql, monkeypatch):
    """Keeps every writer in its INSERT for as long as a block lasts."""
    monkeypatch.setattr("service.intake.writer.FLUSH_TIMEOUT_S", 120)
    sql(GATE)
    sql(TRIGGER)

    @contextmanager
    def block():
        sql("SELECT pg_advisory_lock(1)")
        try:
            yield
        finally:
            sql("SELECT pg_advisory_unlock(1)")

    return block


async def fill(made: Door, sql) -> list[asyncio.Task]:
    """One for each writer, and as many as may wait."""
    tasks = []
    for _ in range(WRITERS):
        tasks.append(asyncio.create_task(made.commit(submission(BODY))))
        while made.pending or len(made.writing) < len(tasks):
            await asyncio.sleep(0)
    assert made.idle == []
    async with asyncio.timeout(45):
        while sql(HELD) != [(WRITERS,)]:
            await asyncio.sleep(0.01)
    return tasks + [asyncio.create_task(made.commit(submission(BODY))) for _ in range(ROOM)]


async def refused(made: Door) -> None:
    with pytest.raises(QueueFull) as found:
        await made.commit(submission(BODY))
    assert found.value.retry_after


@pytest.mark.parametrize(("bound", "most"), BOUNDS)
def test_beyond_it_nothing_is_taken_until_there_is_room(database_url, sql, hold, monkeypatch, bound, most):
    monkeypatch.setattr(f"service.intake.door.{bound}", most)

    async def twice():
        async with door(database_url) as made:
            receipts = []
            for _ in range(2):
                with hold():
                    tasks = await fill(made, sql)
                    await asyncio.sleep(0)
                    await refused(made)
                    assert sql("SELECT count(*) FROM tickets") == [(len(receipts),)]
                receipts += await all_at_once(tasks)
            return [receipt.id for (receipt,) in receipts]

    ids = asyncio.run(twice())
    assert len(ids) == 2 * (WRITERS + ROOM)
    assert sql("SELECT id::text FROM tickets ORDER BY id") == [(one,) for one in sorted(ids)]


@pytest.mark.parametrize(("bound", "most"), BOUNDS)
def test_what_could_not_be_written_makes_room_too(database_url, sql, hold, monkeypatch, bound, most):
    monkeypatch.setattr(f"service.intake.door.{bound}", most)
    ((name,),) = sql("SELECT current_database()")

    async def failed_then_taken():
        async with door(database_url) as made:
            with hold():
                tasks = await fill(made, sql)
                await asyncio.sleep(0)
                await refused(made)
                sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
                sql(f"SELECT pg_terminate_backend(pid, 5000) {DOORS}")
                failed = await all_at_once(tasks)
            sql("SET default_transaction_read_only = off")
            sql(f"ALTER DATABASE {name} RESET ALL")
            with hold():
                tasks = await fill(made, sql)
            return failed, await all_at_once(tasks)

    failed, taken = asyncio.run(failed_then_taken())
    assert [isinstance(one, Unavailable) for one in failed] == [True] * (WRITERS + ROOM)
    assert sql("SELECT id::text FROM tickets ORDER BY id") == sorted((receipts[0].id,) for receipts in taken)


def test_over_http_it_is_429_and_a_ticket_alone_is_taken_whatever_its_size(client, sql, hold, monkeypatch):
    monkeypatch.setattr("service.intake.door.PENDING_BYTES", 1)
    with ThreadPoolExecutor(1) as callers:
        with hold():
            first = callers.submit(client.post, "/v1/tickets", json={"body": "first"})
            eventually(lambda: sql(HELD) == [(1,)])
            answer = client.post("/v1/tickets", json={"body": "second"})
        assert first.result().status_code == 202
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert answer.json()["detail"] == "Too many tickets are being written at this moment; send them again."
    assert client.post("/v1/tickets", json={"body": "third"}).status_code == 202
    assert sql("SELECT body FROM tickets ORDER BY body") == [("first",), ("third",)]
