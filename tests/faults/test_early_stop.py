"""A worker told to stop in its first moments gives back what it holds, as at any other time."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from posters import LONG
from processes import ROOT, environment

from service.datadir import Urls

EARLY = Path(__file__).with_name("early.py")
MANY = 100


def test_told_to_stop_before_celery_listens(
    client: httpx.Client, sql: Callable[..., list[Any]], database_url: str, servers: Urls
) -> None:
    urls = {"TRIAGE_DATABASE_URL": database_url, "TRIAGE_REDIS_URL": servers.redis_url}
    tickets = [{"body": f"{LONG} {number}"} for number in range(MANY)]
    assert client.post("/v1/tickets/batch", json={"tickets": tickets}).status_code == 202
    its = environment(TRIAGE_CONFIG=str(ROOT / "triage.yaml"), **urls)
    said = subprocess.run([sys.executable, EARLY, "worker"], env=its, capture_output=True, timeout=90)
    assert said.returncode == 0, said.stderr[-5000:]
    assert sql("SELECT count(*) FROM tickets WHERE claimed_at IS NOT NULL")[0][0] > 0
    held = "lease_id IS NOT NULL OR lease_until IS NOT NULL OR attempts > 0 OR due_at > now() AND status = 'queued'"
    assert sql(f"SELECT count(*) FROM tickets WHERE {held}") == [(0,)]
    assert {row[0] for row in sql("SELECT DISTINCT status FROM tickets")} <= {"queued", "done"}
    assert sql("SELECT count(*) FROM workers") == [(0,)]
