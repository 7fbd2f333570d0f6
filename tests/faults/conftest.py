"""One `triage up` for all fault tests, started again where a test has left it stopped, threads that post to it, and a
second API process or worker beside it."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import taxonomies
from posters import Posters
from processes import Up, eventually, free_port, sockets

from service.settings import DEMO_LLMS

HASTY = Path(__file__).with_name("hasty.py")
CONFIG = """
taxonomy: taxonomy.yaml
engines:
  embedded: {kind: llamacpp, parallel: 4}
llms:
  primary: {engine: embedded, model: primary.gguf}
  fallback: {engine: embedded, model: fallback.gguf}
policy: {primary: primary, fallback: fallback, escalate_below: 0.80, combine: average, shadow_rate: 1.0}
"""


@pytest.fixture(scope="session")
def only_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """On copies of the demo's llms, so that a test can take one away."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "triage.yaml").write_text(CONFIG)
    (folder / "taxonomy.yaml").write_text(taxonomies.CATEGORY)
    for name in ("primary", "fallback"):
        for kind in ("gguf", "json"):
            shutil.copyfile(DEMO_LLMS / f"{name}.{kind}", folder / f"{name}.{kind}")
    made = Up(folder, folder / "triage.yaml", [sys.executable, str(HASTY)])
    yield made
    made.end()


@pytest.fixture
def up(only_up: Up) -> Iterator[Up]:
    """Running, with nothing waiting; afterwards everything that the test posted is done, once."""
    if not only_up.alive():
        only_up.start()
    only_up.until("ok")
    yield only_up
    if only_up.alive():
        finish(only_up)
        assert "Traceback" not in only_up.output(), only_up.output()[-20000:]


def finish(up: Up) -> None:
    """Waits until every ticket is done, and sees that each was recorded once, and free of its lease.

    One llm is enough: another that is away, or loading, costs a ticket nothing.
    """
    open_ = "SELECT count(*) FROM tickets WHERE status <> 'done'"
    eventually(lambda: up.one(open_) == 0, 60, "some tickets were never classified")
    once = """SELECT count(*) FROM tickets t WHERE lease_id IS NULL AND lease_until IS NULL AND attempts = 0
        AND (SELECT array_agg(x.run) FROM triages x WHERE x.ticket_id = t.id) = ARRAY[t.run]
        AND (SELECT count(*) FROM predictions p WHERE p.ticket_id = t.id AND p.run = t.run) BETWEEN 1 AND 2"""
    assert up.one(once) == up.one("SELECT count(*) FROM tickets")


@pytest.fixture
def posters(up: Up, request: pytest.FixtureRequest) -> Iterator[Posters]:
    """Four threads that post until told to stop."""
    made = Posters(up, request.node.name)
    with made:
        yield made


def servers_of(up: Up) -> dict[str, str]:
    return {"TRIAGE_DATABASE_URL": up.database_url(), "TRIAGE_REDIS_URL": up.redis_url()}


@pytest.fixture
def second_worker(up: Up) -> Iterator[subprocess.Popen[bytes]]:
    """Another worker process on the same servers."""
    process = up.run("worker", **servers_of(up))
    yield process
    process.terminate()
    assert process.wait(20) == 0


@pytest.fixture(scope="module")
def second_port(only_up: Up) -> Iterator[int]:
    """The port of another API process on the same servers, which no test of the file stops."""
    if not only_up.alive():
        only_up.start()
    port = free_port()
    process = only_up.run("serve", TRIAGE_PORT=str(port), **servers_of(only_up))
    eventually(lambda: psutil.CONN_LISTEN in [one.status for one in sockets(psutil.Process(process.pid))])
    yield port
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)  # uvicorn, when all is done, ends by the signal itself
