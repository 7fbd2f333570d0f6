"""A ticket whose row another transaction holds is told to come again; whoever came with it is taken, meanwhile."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from doors import Outcome, all_at_once, door, submission
from structlog.testing import capture_logs

from models.db import conninfo
from models.errors import Unavailable
from service.intake.submission import Submission

NEW = 40
LOCKED = "SELECT FROM tickets WHERE external_id = 'known' FOR UPDATE"
CHANGED = "UPDATE tickets SET attempts = 1 WHERE external_id = 'known'"
# Nobody else sees this row before its commit.
ADDED = """
    INSERT INTO tickets (id, source, external_id, subject, body, repaired, raw, content_sha256, metadata, priority,
        shadow, shadow_rate)
    SELECT gen_random_uuid(), source, 'unknown', subject, body, repaired, raw, content_sha256, metadata, priority,
        shadow, shadow_rate FROM tickets WHERE external_id = 'known'"""


@contextmanager
def holding(database_url: str, statement: str) -> Iterator[None]:
    """A transaction that is stopped between this statement and its end."""
    with psycopg.connect(conninfo(database_url)) as other:
        other.execute(statement.encode())
        yield
        other.rollback()


def new(name: str, count: int = NEW) -> list[Submission]:
    return [submission(f"{name} {number}", f"{name}-{number}") for number in range(count)]


async def posted(database_url: str, group: list[Submission]) -> list[Outcome]:
    async with door(database_url) as made:
        return await all_at_once(made.commit(one) for one in group)


def bodies(sql, external_id):
    return sql("SELECT body, run FROM tickets WHERE external_id = %s", external_id)


@pytest.fixture
def key(new_key, sql):
    new_key("admin")
    ((found,),) = sql("SELECT id FROM api_keys")
    return found, "once"


@pytest.fixture
def known(database_url):
    asyncio.run(posted(database_url, [submission("first text", "known")]))


@pytest.mark.parametrize("statement", [LOCKED, CHANGED], ids=["locked", "changed"])
def test_only_who_needs_the_row_comes_again(database_url, sql, key, known, statement):
    middle, group = NEW // 2, new("stranger")
    group.insert(middle, submission("second text", "known", key))
    with holding(database_url, statement):
        outcomes = asyncio.run(posted(database_url, group))
        refused = outcomes.pop(middle)
        assert isinstance(refused, Unavailable)
        assert refused.retry_after
        assert sql("SELECT id::text FROM tickets WHERE external_id <> 'known' ORDER BY id") == sorted(
            (receipts[0].id,) for receipts in outcomes
        )
        assert bodies(sql, "known") == [("first text", 1)]
        assert sql("SELECT (SELECT count(*) FROM revisions), (SELECT count(*) FROM idempotency_keys)") == [(0, 0)]
    again, repeat = [asyncio.run(posted(database_url, [submission("second text", "known", key)])) for _ in range(2)]
    assert again == repeat
    assert bodies(sql, "known") == [("second text", 2)]
    assert sql("SELECT body FROM revisions") == [("first text",)]


def test_a_row_that_nobody_sees_yet(database_url, sql, known):
    group = new("stranger")
    group.insert(3, submission("other text", "unknown"))
    with holding(database_url, ADDED):
        outcomes = asyncio.run(posted(database_url, group))
        assert isinstance(outcomes.pop(3), Unavailable)
        assert sql("SELECT count(*) FROM tickets WHERE external_id ~ 'stranger'") == [(NEW,)]
        assert not [one for one in outcomes if isinstance(one, BaseException)]
    asyncio.run(posted(database_url, [submission("other text", "unknown")]))
    assert bodies(sql, "unknown") == [("other text", 1)]


def test_two_of_them_leave_a_writer_to_the_others(database_url, sql, known):
    async def repeats_then_strangers():
        async with door(database_url) as made:
            repeats = []
            for number in range(2):
                repeats.append(asyncio.create_task(made.commit(submission(f"text {number}", "known"))))
                while made.pending or len(made.writing) <= number:
                    await asyncio.sleep(0)
            assert made.idle == []
            taken = await all_at_once(made.commit(one) for one in new("stranger"))
            return await all_at_once(repeats), taken

    with holding(database_url, LOCKED):
        refused, taken = asyncio.run(repeats_then_strangers())
        assert [isinstance(one, Unavailable) for one in refused] == [True] * 2
        assert sql("SELECT id::text FROM tickets WHERE external_id <> 'known' ORDER BY id") == sorted(
            (receipts[0].id,) for receipts in taken
        )


def test_a_locked_table_is_no_endless_search(database_url, sql, monkeypatch):
    """Nobody can be written then, and each try waits a little."""
    monkeypatch.setattr("service.intake.writer.MOST_WAITS", 3)
    with holding(database_url, "LOCK TABLE tickets IN SHARE MODE"), capture_logs() as lines:
        outcomes = asyncio.run(posted(database_url, new("stranger")))
    assert [isinstance(one, Unavailable) for one in outcomes] == [True] * NEW
    assert [line["tickets"] for line in lines if line["event"] == "door.held"] == [
        NEW // 8,
        NEW // 8,
        NEW // 4,
        NEW // 2,
    ]
    assert sql("SELECT count(*) FROM tickets") == [(0,)]


def test_versions_of_one_ticket_in_one_group_with_a_key(database_url, sql, key, known):
    """The rows are locked at once, and still each version finds the one before it."""
    versions = [submission(body, "known").tickets[0] for body in ("second", "second", "third")]
    ((*receipts,),) = asyncio.run(posted(database_url, [Submission(versions, *key)]))
    assert [receipt.duplicate for receipt in receipts] == [False, True, False]
    assert bodies(sql, "known") == [("third", 3)]
    assert sql("SELECT body FROM revisions ORDER BY run") == [("first text",), ("second",)]
