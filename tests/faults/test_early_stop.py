"""A worker told to stop in its first moments gives back what it holds, as at any other time."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import ROOT

from service.datadir import Urls

EARLY = Path(__file__).with_name("early.py")
MANY = 100
LONG = "I was charged twice for one payment at a shop and would like my money back soon. " * 20


@pytest.fixture
def environment(database_url: str, servers: Urls) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIAGE_")}
    urls = {"TRIAGE_DATABASE_URL": database_url, "TRIAGE_REDIS_URL": servers.redis_url}
    return kept | urls | {"TRIAGE_CONFIG": str(ROOT / "triage.yaml")}


def test_told_to_stop_before_celery_listens(
    client: httpx.Client, sql: Callable[..., list[Any]], environment: dict[str, str]
) -> None:
    tickets = [{"body": f"{LONG} {number}"} for number in range(MANY)]
    assert client.post("/v1/tickets/batch", json={"tickets": tickets}).status_code == 202
    said = subprocess.run([sys.executable, EARLY, "worker"], env=environment, capture_output=True, timeout=90)
    assert said.returncode == 0, said.stderr[-5000:]
    assert sql("SELECT count(*) FROM tickets WHERE claimed_at IS NOT NULL")[0][0] > 0
    held = "lease_id IS NOT NULL OR lease_until IS NOT NULL OR attempts > 0 OR due_at > now() AND status = 'queued'"
    assert sql(f"SELECT count(*) FROM tickets WHERE {held}") == [(0,)]
    assert {row[0] for row in sql("SELECT DISTINCT status FROM tickets")} <= {"queued", "done"}
    assert sql("SELECT count(*) FROM workers") == [(0,)]
