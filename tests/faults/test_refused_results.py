"""A result that Postgres refuses counts against its own ticket; the batch around it is recorded all the same."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy import float32

from models.db import conninfo
from service.config import read_config
from service.intake.door import Door
from service.intake.submission import Submission
from service.intake.ticket import TicketIn, new_ticket
from workers import record
from workers.drain import Drain

CONFIG = read_config(Path(__file__).resolve().parents[2] / "triage.yaml")


async def post(database_url: str, bodies: list[str]) -> None:
    tickets = [new_ticket(TicketIn(body=body), b"{}", source="test", config=CONFIG) for body in bodies]
    door = Door(conninfo(database_url))
    await door.commit(Submission(tickets))
    await door.close()


def test_one_refused_result_in_a_batch(database_url: str, drain: Drain, sql: Callable[..., list[Any]]) -> None:
    bodies = [f"Where is my card? {number}" for number in range(7)]
    asyncio.run(post(database_url, bodies))
    (bad,) = sql("SELECT id FROM tickets WHERE body LIKE '%% 3'")[0]
    sql(f"ALTER TABLE triages ADD CONSTRAINT refused CHECK (ticket_id <> '{bad}')")
    for attempt in range(1, 6):
        drain.run()
        assert sql("SELECT count(*), min(attempts) FROM tickets WHERE status = 'done'") == [(6, 0)]
        assert sql("SELECT attempts, lease_id FROM tickets WHERE id = %s", bad) == [(attempt, None)]
        sql("UPDATE tickets SET due_at = now() WHERE status = 'queued'")
    assert sql("SELECT status FROM tickets WHERE id = %s", bad) == [("failed",)]
    assert "refused" in sql("SELECT last_error FROM tickets WHERE id = %s", bad)[0][0]
    assert sql("SELECT count(*), count(DISTINCT ticket_id) FROM triages") == [(6, 6)]
    assert sql("SELECT count(*) FROM predictions WHERE ticket_id = %s", bad) == [(0,)]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float32("-inf")])
def test_a_number_that_is_not_finite_is_refused_and_never_becomes_none(
    database_url: str, drain: Drain, sql: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch, number: Any
) -> None:
    asyncio.run(post(database_url, ["Where is my card? 0", "Where is my card? 1"]))
    (bad,) = sql("SELECT id FROM tickets WHERE body LIKE '%% 1'")[0]
    real = record._key
    spoiled = {"confidence": number} if number != number else {"scores": {"cards": number}}
    rows = record._prediction

    def key(ticket: Any, *given: Any) -> dict[str, Any]:
        made = real(ticket, *given)
        current.append(ticket.id)
        return made

    current: list[Any] = []
    monkeypatch.setattr(record, "_key", key)
    monkeypatch.setattr(record, "_prediction", lambda said: rows(said) | (spoiled if current[-1] == bad else {}))
    drain.run()
    assert sql("SELECT count(*), min(attempts) FROM tickets WHERE status = 'done' AND id <> %s", bad) == [(1, 0)]
    ((status, attempts, error),) = sql("SELECT status, attempts, last_error FROM tickets WHERE id = %s", bad)
    assert (status, attempts, "NotFinite" in error) == ("queued", 1, True)
    assert sql("SELECT count(*) FROM predictions WHERE ticket_id = %s", bad) == [(0,)]
