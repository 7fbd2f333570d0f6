"""The group commit against bad tickets, doors that lock each other, and lost connections: it never stays shut."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Callable
from uuid import UUID

import pytest
from doors import Outcome, Sql, all_at_once, door, submission
from sqlalchemy import Engine, select

from models.db import conninfo, transaction
from models.errors import InvalidRequest, TriageError, Unavailable
from models.tables import ApiKey
from service.intake.door import GROUP_TICKETS, WRITERS, Door
from service.intake.submission import NewTicket, Receipt, Submission


def spoiled(**values: str) -> Submission:
    """A ticket as only a mistake of ours could let it through to the door."""
    return Submission([submission("spoiled").tickets[0]._replace(**values)])


@pytest.fixture
def api_key(database: Engine, new_key: Callable[..., str]) -> UUID:
    new_key("admin")
    with transaction(database) as session:
        return session.scalars(select(ApiKey.id)).one()


def test_bad_tickets_in_one_group_harm_nobody_else(database_url: str, sql: Sql, api_key: UUID) -> None:
    key = (api_key, "once")
    group = [
        submission("first"),
        spoiled(body="a \0 in the text"),
        submission("keyed", key=key),
        spoiled(external_id="x" * 256),
        submission("last", external_id="E-1"),
        submission("keyed", key=key),
        submission("other", key=key),
    ]

    async def all_of_them() -> tuple[list[Outcome], list[Receipt]]:
        async with door(database_url) as made:
            outcomes = await all_at_once(made.commit(one) for one in group)
            return outcomes, await made.commit(submission("afterwards"))

    (first, nul, keyed, long, last, again, other), afterwards = asyncio.run(all_of_them())
    assert [type(one) for one in (nul, long, other)] == [InvalidRequest] * 3
    assert isinstance(other, TriageError)
    assert "Idempotency-Key" in other.message
    assert keyed == again
    receipts = {"first": first, "keyed": keyed, "last": last, "afterwards": afterwards}
    stored = {str(id_): body for id_, body in sql("SELECT id, body FROM tickets")}
    assert stored == {found[0].id: body for body, found in receipts.items() if isinstance(found, list)}
    assert len(stored) == 4
    assert sql("SELECT key, answer->'receipts'->0->>'id' FROM idempotency_keys") == [("once", keyed[0].id)]


class Watched(list[NewTicket]):
    """A list that can be looked after."""


def test_what_is_refused_leaves_the_memory_without_a_look_for_garbage(database_url: str) -> None:
    async def left() -> object:
        async with door(database_url) as made:
            refused = spoiled(body="a \0 in the text")
            refused.tickets = Watched(refused.tickets)
            seen = weakref.ref(refused.tickets)
            with contextlib.suppress(InvalidRequest):
                await made.commit(refused)
            del refused
            await asyncio.gather(*made.writing)
            return seen()

    gc.disable()
    try:
        assert asyncio.run(left()) is None
    finally:
        gc.enable()


def test_a_ticket_beyond_a_limit_of_postgres_sinks_nobody_else(database_url: str, sql: Sql) -> None:
    sql("CREATE INDEX small_pages ON tickets (body)")
    group = [submission("before"), submission("".join(map(chr, range(20_000, 28_000)))), submission("behind")]

    async def all_of_them() -> list[Outcome]:
        async with door(database_url) as made:
            return await all_at_once(made.commit(one) for one in group)

    before, huge, behind = asyncio.run(all_of_them())
    assert isinstance(huge, InvalidRequest)
    assert isinstance(before, list)
    assert isinstance(behind, list)
    assert sql("SELECT body FROM tickets ORDER BY body") == [("before",), ("behind",)]


def test_two_doors_with_the_same_tickets_in_opposite_order(database_url: str, sql: Sql) -> None:
    names, rounds = [f"E-{number}" for number in range(20)], 15

    def batch(round_: int, order: list[str], where: str) -> Submission:
        one_each = [submission(f"{name} {where} {round_}", name).tickets[0] for name in order]
        return Submission(one_each)

    async def both() -> list[Outcome]:
        outcomes = []
        async with door(database_url) as one, door(database_url) as other:
            for round_ in range(rounds):
                here, there = batch(round_, names, "here"), batch(round_, names[::-1], "there")
                outcomes += await all_at_once([one.commit(here), other.commit(there)])
        return outcomes

    outcomes = asyncio.run(both())
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    assert sql("SELECT external_id, run, status FROM tickets ORDER BY length(external_id), external_id") == [
        (name, 2 * rounds, "queued") for name in names
    ]
    assert sql("SELECT count(*), count(DISTINCT (ticket_id, body)) FROM revisions") == [
        (len(names) * (2 * rounds - 1),) * 2
    ]
    assert sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]


def test_a_connection_ended_between_two_commits(database_url: str, sql: Sql) -> None:
    async def before_and_after() -> list[Outcome]:
        async with door(database_url) as made:
            await made.commit(submission("before"))
            ended = sql("""SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                           WHERE application_name = 'triage-door' AND datname = current_database()""")
            assert set(ended) == {(True,)}
            return [*await all_at_once([made.commit(submission("during"))]), await made.commit(submission("after"))]

    during, after = asyncio.run(before_and_after())
    assert isinstance(during, list)
    assert isinstance(after, list)
    assert sql("SELECT body FROM tickets ORDER BY received_at") == [("before",), ("during",), ("after",)]


def test_versions_of_one_ticket_in_one_group_keep_their_order(database_url: str, sql: Sql) -> None:
    bodies = [f"version {number:02}" for number in range(60)]

    async def post() -> list[Receipt]:
        async with door(database_url) as made:
            return await made.commit(Submission([submission(body, "E-1").tickets[0] for body in bodies]))

    receipts = asyncio.run(post())
    assert len({receipt.id for receipt in receipts}) == 1
    assert sql("SELECT body, run FROM tickets") == [(bodies[-1], len(bodies))]
    assert [body for (body,) in sql("SELECT body FROM revisions ORDER BY run")] == bodies[:-1]


def test_a_closing_door_writes_and_answers_what_is_pending(database_url: str, sql: Sql) -> None:
    """More requests wait than all writers take at once when the process is told to stop; another one comes too late."""
    size, requests = GROUP_TICKETS * 2 // 3, 2 * WRITERS + 1
    waiting = [Submission([submission(f"{n}-{i}").tickets[0] for i in range(size)]) for n in range(requests)]

    async def close_on_them() -> list[Outcome]:
        made = Door(conninfo(database_url))
        answers = asyncio.ensure_future(all_at_once(made.commit(one) for one in waiting))
        while not made.pending:
            await asyncio.sleep(0)
        closing = asyncio.ensure_future(made.close())
        await asyncio.sleep(0)
        assert made.pending
        (late,) = await all_at_once([made.commit(submission("late"))])
        await asyncio.wait_for(closing, 30)
        return [*await answers, late]

    *answered, late = asyncio.run(close_on_them())
    assert isinstance(late, Unavailable)
    stored = {str(id_) for (id_,) in sql("SELECT id FROM tickets")}
    assert stored == {receipt.id for outcome in answered if isinstance(outcome, list) for receipt in outcome}
    assert len(stored) == requests * size


@pytest.mark.parametrize(
    ("fault", "cure"),
    [
        ("ALTER DATABASE {} SET default_transaction_read_only = on", "ALTER DATABASE {} RESET ALL"),
        ("ALTER TABLE tickets RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO tickets"),
    ],
    ids=["a standby after a failover", "another schema"],
)
def test_a_database_that_takes_nothing_is_not_the_tickets_fault(
    database_url: str, sql: Sql, fault: str, cure: str
) -> None:
    """The answer is 503, never a 422 after which a helpdesk would drop the ticket."""
    (name,) = sql("SELECT current_database()")[0]

    async def before_and_after() -> tuple[Outcome, Outcome]:
        async with door(database_url) as made:
            sql(fault.format(name))
            (refused,) = await all_at_once([made.commit(submission("refused"))])
            assert made.last.refused
            sql("SET default_transaction_read_only = off")
            sql(cure.format(name))
            (taken,) = await all_at_once([made.commit(submission("taken"))])
            await made.last.check()
            return refused, taken

    refused, taken = asyncio.run(before_and_after())
    assert isinstance(refused, Unavailable)
    assert refused.retry_after
    assert isinstance(taken, list)
    assert sql("SELECT body FROM tickets") == [("taken",)]
