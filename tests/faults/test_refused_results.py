"""A result that Postgres refuses counts against its own ticket; the batch around it is recorded all the same."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.db import conninfo
from service.config import read_config
from service.intake.door import Door
from service.intake.submission import Submission
from service.intake.ticket import TicketIn, new_ticket
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
