"""A prediction says whether its llm read the whole ticket."""

from collections.abc import Callable
from typing import Any

import httpx

from workers.drain import Drain


def test_a_ticket_that_is_too_long_says_so(client: httpx.Client, drain: Drain, sql: Callable[..., list[Any]]) -> None:
    for name, body in (("short", "Where is my card?"), ("long", "My card is lost. " * 200)):
        client.post("/v1/tickets", json={"external_id": name, "body": body}).raise_for_status()
    drain.run()
    rows = sql("SELECT DISTINCT external_id, cut FROM predictions p JOIN tickets t ON t.id = p.ticket_id ORDER BY 1")
    assert rows == [("long", True), ("short", False)]
    listed = client.get("/v1/tickets", params={"external_id": "long"}).json()["items"]
    shown = client.get(f"/v1/tickets/{listed[0]['id']}").json()["predictions"]
    assert shown
    assert all(one["cut"] is True for one in shown)
