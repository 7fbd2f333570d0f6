"""A breaker that opens is seen by /metrics, /readyz and the overview, and no longer once Ollama answers again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import parser
from standin import Fault, Standin

from service.config import Config
from service.settings import Loaded
from workers.engines.guard import FAILURES
from workers.runtime import Runtime

Sql = Callable[..., list[Any]]


@pytest.fixture
def worker(standin: Standin, loaded: Loaded, tmp_path: Path) -> Iterator[Runtime]:
    """One that does only what it is told to, with its primary in Ollama and no other llm."""
    config = loaded.config.model_dump() | {
        "engines": {"ollama": {"kind": "ollama", "url": standin.url, "parallel": 2}},
        "llms": {"primary": {"engine": "ollama", "model": "triage-primary", "card": "demo:primary"}},
        "policy": {"primary": "primary", "fallback": None, "shadow_rate": 0.0},
    }
    runtime = Runtime(loaded.model_copy(update={"config": Config.model_validate(config)}), tmp_path)
    assert runtime.llms.load()
    yield runtime
    runtime.close()


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
