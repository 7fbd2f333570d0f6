"""An hour passes, or comes back, by moving the stored times: the clock is never touched, and every ticket ends once."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from models.errors import EngineDown, TicketRejected
from models.llm.text import Prepared
from workers.claim import claim
from workers.drain import Drain
from workers.llm import Llm

SHIFT = (
    "UPDATE tickets SET due_at = due_at + %s * interval '1 hour', lease_until = lease_until + %s * interval '1 hour'"
)
STATES = "SELECT body, status, attempts > 0, lost_leases FROM tickets ORDER BY body"


@pytest.fixture
def queued(client: httpx.Client, drain: Drain, database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One ticket for each reason to wait: lost with its worker, given back, refused by the engine, not yet seen."""
    errors = {"away": EngineDown("away"), "refused": TicketRejected("too long")}
    real = Llm.ask

    def ask(llm: Llm, text: Prepared, field: str, labels: Any) -> Any:
        if (error := errors.get(text.text)) is not None:
            raise error
        return real(llm, text, field, labels)

    def post(body: str) -> None:
        assert client.post("/v1/tickets", json={"body": body}).status_code == 202

    post("lost")
    assert len(claim(database, 1).tickets) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Llm, "ask", ask)
        for body in ("away", "refused"):
            post(body)
            drain.run()
    post("new")


def test_an_hour_passes(queued: None, drain: Drain, sql: Callable[..., list[Any]]) -> None:
    sql(SHIFT, -1, -1)
    drain.run()
    assert sql(STATES) == [(body, "done", body == "refused", 0) for body in ("away", "lost", "new", "refused")]
    assert sql("SELECT count(*), count(DISTINCT ticket_id) FROM triages") == [(4, 4)]


def test_an_hour_comes_back(queued: None, drain: Drain, sql: Callable[..., list[Any]]) -> None:
    """As after a clock that was wrong: what is due later waits, what was lost is still the lost worker's."""
    before = sql(STATES)
    sql(SHIFT, 1, 1)
    drain.run()
    assert sql(STATES) == before
    sql(SHIFT, -2, -2)
    drain.run()
    assert sql("SELECT DISTINCT status FROM tickets") == [("done",)]
    assert sql("SELECT count(*), count(DISTINCT ticket_id) FROM triages") == [(4, 4)]
