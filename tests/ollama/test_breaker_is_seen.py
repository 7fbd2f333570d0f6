"""A breaker that opens is seen by /metrics, /readyz and the overview, and no longer once Ollama answers again."""

from collections.abc import Callable
from typing import Any

import httpx
from prometheus_client import parser
from standin import Fault, Standin

from workers.engines.guard import FAILURES
from workers.runtime import Runtime

Sql = Callable[..., list[Any]]


def told(client: httpx.Client, name: str) -> dict[str, float]:
    """The samples of one name, by llm and error."""
    families = list(parser.text_string_to_metric_families(client.get("/metrics").text))
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return {
        " ".join(sample.labels[key] for key in ("llm", "error") if key in sample.labels): sample.value
        for sample in found
    }


def test_a_breaker_opens_and_closes_in_sight(worker: Runtime, client: httpx.Client, standin: Standin, sql: Sql) -> None:
    tickets = [{"body": f"where is my card {number}"} for number in range(FAILURES + 3)]
    assert client.post("/v1/tickets/batch", json={"tickets": tickets}).status_code == 202
    worker.beat()
    assert told(client, "triage_llm_breaker_open") == {"primary": 0}
    assert client.get("/readyz").json() == {"status": "ok", "missing": []}

    standin.fault = Fault("stopped")
    worker.drain.run()
    worker.beat()
    assert told(client, "triage_llm_breaker_open") == {"primary": 1}
    assert told(client, "triage_llm_loaded") == {"primary": 1}
    assert told(client, "triage_llm_failures_total") == {"primary down": len(tickets)}
    (missing,) = client.get("/readyz").json()["missing"]
    assert missing.startswith(f"The llm primary is not asked at the moment: Ollama failed {FAILURES} times in a row")
    assert missing.endswith("Tickets wait, or are decided without it.")
    assert sql("SELECT DISTINCT status, attempts FROM tickets") == [("queued", 0)]

    standin.fault = None
    assert worker.llms.load()
    sql("UPDATE tickets SET due_at = now()")
    worker.drain.run()
    worker.beat()
    assert told(client, "triage_llm_breaker_open") == {"primary": 0}
    assert told(client, "triage_answers_total") == {"primary": len(tickets)}
    assert client.get("/readyz").json() == {"status": "ok", "missing": []}
