"""An engine that hangs, is slow, or answers rubbish, beside a worker: no ticket is lost, and none is done twice.

Engine and worker are processes of their own, the engine a stand-in for Ollama with the demo's llms.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import taxonomies
from moments import frozen
from processes import ROOT, environment, eventually, free_port, gone, sockets
from spoiled import MODE, RUBBISH, SLOW, STUCK, WELL

from service.children import Child
from service.datadir import Urls

Sql = Callable[..., list[Any]]
HERE = Path(__file__).parent
CONFIG = """
taxonomy: taxonomy.yaml
engines: {{ollama: {{kind: ollama, url: "http://127.0.0.1:{port}", parallel: 4}}}}
llms:
  primary: {{engine: ollama, model: triage-primary, card: "demo:primary"}}
  fallback: {{engine: ollama, model: triage-fallback, card: "demo:fallback"}}
policy: {{primary: primary, fallback: fallback}}
"""
PLACES = 4
RENEW_S = 0.3
READY = {"status": "ok", "missing": []}
STATES = "SELECT status, attempts, count(*)::int FROM tickets GROUP BY status, attempts ORDER BY status, attempts"
ONCE = """SELECT count(*) FROM tickets t WHERE status = 'done' AND run = 1 AND lease_id IS NULL AND lease_until IS NULL
    AND (SELECT array_agg(x.run || x.field) FROM triages x WHERE x.ticket_id = t.id) = ARRAY['1category']
    AND (SELECT count(*) FROM predictions p WHERE p.ticket_id = t.id) BETWEEN 1 AND 2"""
# Each renewal of a lease becomes a row.
NOTED = (
    "CREATE TABLE renewals (lease uuid, until timestamptz)",
    """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN INSERT INTO renewals VALUES (NEW.lease_id, NEW.lease_until); RETURN NULL; END $$""",
    """CREATE TRIGGER note AFTER UPDATE ON tickets FOR EACH ROW WHEN (OLD.lease_id = NEW.lease_id)
       EXECUTE FUNCTION note()""",
)
RENEWALS = "SELECT max(times) FROM (SELECT count(DISTINCT until) AS times FROM renewals GROUP BY lease) AS of_each"


@dataclass
class Engine:
    """The process, and the file that says how it answers."""

    process: psutil.Process
    port: int
    mode: Path

    def becomes(self, mode: str) -> None:
        new = self.mode.with_suffix(".new")
        new.write_text(mode)
        new.replace(self.mode)


@contextmanager
def running(folder: Path, name: str, words: list[str], **env: str) -> Iterator[psutil.Process]:
    """A Python program with the stand-in on its path; what it prints is in a file of its name."""
    paths = [str(ROOT), str(ROOT / "tests" / "ollama"), *filter(None, [os.environ.get("PYTHONPATH")])]
    env |= {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(folder)}
    calm = ((signal.SIGTERM, 20.0),)
    child = Child(name, [sys.executable, *words], calm, env=environment(**env), cwd=folder, log=folder / f"{name}.log")
    child.start()
    assert child.process is not None
    try:
        yield psutil.Process(child.process.pid)
    finally:
        child.stop()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short name, as sockets lie in it."""
    made = tmp_path_factory.mktemp("engine")
    (made / "taxonomy.yaml").write_text(taxonomies.CATEGORY)
    return made


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    port, mode = free_port(), folder / MODE
    mode.write_text(WELL)
    with running(folder, "engine", [str(HERE / "spoiled.py"), str(port), str(folder)]) as process:
        eventually(lambda: psutil.CONN_LISTEN in [one.status for one in sockets(process)])
        yield Engine(process, port, mode)


@pytest.fixture
def deadline_s() -> float:
    """Of a call to the engine: as it is."""
    return 30.0


@pytest.fixture
def worker(
    folder: Path, engine: Engine, client: httpx.Client, database_url: str, servers: Urls, deadline_s: float
) -> Iterator[psutil.Process]:
    """With both llms loaded."""
    config = folder / "triage.yaml"
    config.write_text(CONFIG.format(port=engine.port))
    urls = {"TRIAGE_DATABASE_URL": database_url, "TRIAGE_REDIS_URL": servers.redis_url, "TRIAGE_CONFIG": str(config)}
    with running(folder, "worker", [str(HERE / "hurried.py"), str(deadline_s), str(RENEW_S)], **urls) as process:
        eventually(lambda: client.get("/readyz").json() == READY, 90, "the worker is never ready")
        yield process


def post(client: httpx.Client, count: int, body: str) -> None:
    tickets = [{"body": f"{body} {number}"} for number in range(count)]
    assert client.post("/v1/tickets/batch", json={"tickets": tickets}).status_code == 202


def due(sql: Sql) -> None:
    """As if every pause were over."""
    sql("UPDATE tickets SET due_at = now() WHERE status = 'queued' AND due_at > now()")


@pytest.mark.parametrize("deadline_s", [2.0])
def test_frozen_for_longer_than_a_call_may_take(
    engine: Engine, worker: psutil.Process, client: httpx.Client, sql: Sql
) -> None:
    """In flight: a call in each of its places. Their tickets wait at no cost, and so do those that come meanwhile."""
    engine.becomes(STUCK)
    post(client, PLACES, "Where is my card?")
    eventually(lambda: sql(STATES) == [("working", 0, PLACES)])
    with frozen(engine.process):
        engine.becomes(WELL)
        eventually(lambda: sql(STATES) == [("queued", 0, PLACES)])
        assert all("in time" in error for (error,) in sql("SELECT last_error FROM tickets"))
        post(client, PLACES, "Why was my card declined?")
    eventually(lambda: due(sql) or sql(STATES) == [("done", 0, 2 * PLACES)], 60)
    assert sql(ONCE) == [(2 * PLACES,)]
    assert not gone([worker])


def test_slow(engine: Engine, worker: psutil.Process, client: httpx.Client, sql: Sql, folder: Path) -> None:
    """In flight: one batch that takes longer than several renewals of its lease. API and worker are well meanwhile."""
    for statement in NOTED:
        sql(statement)
    engine.becomes(SLOW)
    post(client, 3 * PLACES, "Where is my card?")
    assert client.post("/v1/tickets?wait=0.1", json={"body": "Is anybody there?"}).status_code in (200, 202)

    told: list[Any] = []

    def done() -> bool:
        told.append(client.get("/readyz").json())
        return sql(STATES) == [("done", 0, 3 * PLACES + 1)]

    eventually(done, 60)
    assert READY in told
    assert sql(ONCE) == [(3 * PLACES + 1,)]
    assert sql(RENEWALS)[0][0] >= 3
    assert not gone([worker])
    log = (folder / "worker.log").read_text()
    assert [name for name in ("lease.", "llm.silent", "Traceback") if name in log] == []


def test_rubbish(engine: Engine, worker: psutil.Process, client: httpx.Client, sql: Sql) -> None:
    """In flight: tickets whose every answer is rubbish, and some of them have one attempt left. None of it is kept."""
    engine.becomes(RUBBISH)
    sql("ALTER TABLE tickets ALTER attempts SET DEFAULT 4")
    post(client, PLACES, "Where is my card?")
    sql("ALTER TABLE tickets ALTER attempts SET DEFAULT 0")
    post(client, 2 * PLACES, "Why was my card declined?")
    refused = "SELECT sum(attempts) > 4 * %s AND count(*) FILTER (WHERE status = 'working') = 0 FROM tickets"
    eventually(lambda: sql(refused, PLACES) == [(True,)])
    assert sql("SELECT (SELECT count(*) FROM triages), (SELECT count(*) FROM predictions)") == [(0, 0)]
    engine.becomes(WELL)

    def done() -> bool:
        due(sql)
        for (ticket_id,) in sql("SELECT id FROM tickets WHERE status = 'failed'"):
            assert client.post(f"/v1/tickets/{ticket_id}/requeue").status_code == 202
        return sql("SELECT count(*) FROM tickets WHERE status <> 'done'") == [(0,)]

    eventually(done, 60)
    assert sql(ONCE) == [(3 * PLACES,)]
    assert not gone([worker])
