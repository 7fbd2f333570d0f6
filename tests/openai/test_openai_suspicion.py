"""A server that answers rubbish to everybody fails nobody, and is asked ever more seldom whether it is well again."""

from collections.abc import Callable
from typing import Any

import httpx
from clouded import Clouded

from workers.suspicion import TICKETS

Sql = Callable[..., list[Any]]


def test_a_queue_waits_until_the_server_is_well_again(clouded: Clouded, client: httpx.Client, sql: Sql) -> None:
    bodies = [{"body": f"where is my card {number}"} for number in range(24)]
    assert client.post("/v1/tickets/batch", json={"tickets": bodies}).status_code == 202
    llms = clouded.llms(spend_limit_per_day=100.0)
    drain, llm, (spend,) = clouded.drain(llms, fallback=None, shadow_rate=0.0), llms.all["primary"], llms.spends
    sql("UPDATE tickets SET shadow = false")
    served, clouded.cloud.fault = llm.served, "nothing"
    drain.run()
    assert sql("SELECT sum(attempts), max(attempts) FROM tickets") == [(TICKETS - 1, 1)]

    assert not llms.load()
    assert (llm.error or "").startswith("it refuses every ticket, and a known question too.")
    llm.suspicion.backoff.not_before += 3600
    before = len(clouded.cloud.paths)
    assert not llms.load()
    assert len(clouded.cloud.paths) == before, "a trial may cost money"

    clouded.cloud.fault, paid = None, spend._not_in_tables
    llm.suspicion.backoff.not_before = 0.0
    assert llms.load()
    assert llm.served == served, "it is asked in the form that it was asked in"
    assert spend._not_in_tables > paid
    sql("UPDATE tickets SET due_at = now()")
    drain.run()
    assert sql("SELECT DISTINCT status FROM tickets") == [("done",)]
