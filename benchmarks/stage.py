"""Where the measured stand: databases cloned from one template, a Redis, and the processes of each side.

Used by whatever measures with servers.
"""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

import migrations
from benchmarks.load import CLIENTS
from models import taxonomy
from models.db import conninfo, make_engine, transaction
from models.errors import TriageError
from models.tables import LlmVersion
from models.taxonomy import Taxonomy
from service.auth.keys import Scope, create_key
from service.children import Child
from service.datadir import Urls
from service.queue import broker_url, connect

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "benchmarks" / "triage.yaml"
PREFIX = "bench_"
READY_S = 60.0
POLL_S = 0.1
SIDES = ("ours", "yardstick", "tutorial")


@dataclass
class Stage:
    """Everything lies in `folder`; `databases` are the URLs by side, `key` is an API key of ours."""

    urls: Urls
    folder: Path
    databases: dict[str, str]
    key: str = ""
    connections: dict[str, psycopg.Connection[Any]] = field(default_factory=dict)

    @contextmanager
    def process(self, name: str, command: list[str], settings: dict[str, str]) -> Iterator[Child]:
        """One process of a side, for as long as the block lasts; none of the user's own settings reach it."""
        env = environment(PYTHONPATH=str(ROOT)) | settings
        calm = ((SIGTERM, 15.0),)
        child = Child(name, command, calm, env=env, cwd=self.folder, log=self.folder / f"{name}.log")
        child.start()
        try:
            yield child
        finally:
            child.stop()

    def sql(self, side: str, statement: str, *values: Any) -> list[Any]:
        """Runs one statement in autocommit and gives its rows."""
        cursor = self.connection(side).execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def connection(self, side: str) -> psycopg.Connection[Any]:
        """One for each database and for good: a new one in the middle of a window would be part of what is measured."""
        if side not in self.connections:
            self.connections[side] = psycopg.connect(conninfo(self.databases[side]), autocommit=True)
        return self.connections[side]

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()

    def empty(self, side: str) -> None:
        """Makes both sides start alike: no rows, no messages, and nothing left to write from before."""
        self.sql(side, "TRUNCATE tickets, idempotency_keys CASCADE")
        self.sql(side, "CHECKPOINT")
        with connect(self.urls.redis_url) as redis:
            redis.delete("tutorial")

    def ours(self, **more: str) -> dict[str, str]:
        """The settings of the product's processes."""
        return {
            "TRIAGE_DATABASE_URL": self.databases["ours"],
            "TRIAGE_REDIS_URL": self.urls.redis_url,
            "TRIAGE_CONFIG": str(CONFIG),
            "TRIAGE_DATA_DIR": str(self.folder),
            "TRIAGE_LOG_LEVEL": "warning",
            **more,
        }

    def theirs(self, side: str) -> dict[str, str]:
        """The settings of yardstick.py and tutorial.py."""
        url = self.databases[side]
        plain = conninfo(url) if side == "yardstick" else url
        return {"BENCH_DATABASE": plain, "BENCH_CLIENTS": str(CLIENTS), "BENCH_BROKER": broker_url(self.urls.redis_url)}


def category() -> Taxonomy:
    """The demo's first field alone, so that on every side a ticket is one question."""
    fields = taxonomy.load(ROOT / "taxonomy.yaml").fields_
    return Taxonomy.model_validate({"fields": {"category": fields["category"]}})


def environment(**more: str) -> dict[str, str]:
    """For a process that is measured: none of the user's own settings."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("TRIAGE_")} | more


def python(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Any, child: Child, complaint: str, seconds: float = READY_S) -> None:
    """Waits for something that a process has to do."""
    deadline = time.monotonic() + seconds
    while not true():
        if not child.running():
            raise TriageError(f"{child.name} has stopped ({child.ending()}).")
        if time.monotonic() > deadline:
            raise TriageError(f"{complaint} after {seconds:.0f} s; its log is {child.log}.")
        time.sleep(POLL_S)


def listens(port: int) -> bool:
    """Whether a server has come up at this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def stage(urls: Urls, folder: Path) -> Iterator[Stage]:
    """One database for each side, all of the same shape; they are dropped at the end."""
    names = {side: PREFIX + side for side in ("template", *SIDES)}
    databases = {side: make_url(urls.database_url).set(database=name) for side, name in names.items()}
    made = Stage(urls, folder, {s: url.render_as_string(hide_password=False) for s, url in databases.items()})
    with psycopg.connect(conninfo(urls.database_url), autocommit=True) as admin:
        _drop(admin, list(names.values()))
        admin.execute(f"CREATE DATABASE {names['template']}".encode())
        _prepare(made)
        for side in SIDES:
            admin.execute(f"CREATE DATABASE {names[side]} TEMPLATE {names['template']}".encode())
        try:
            yield made
        finally:
            made.close()
            _drop(admin, list(names.values()))


def _drop(admin: psycopg.Connection[Any], names: list[str]) -> None:
    for name in names:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def _prepare(made: Stage) -> None:
    """The schema, the taxonomy, a key for ours and the llm's row for the tutorial."""
    url = made.databases["template"]
    migrations.upgrade(url)
    database = make_engine(url, pool_size=1)
    with transaction(database) as session:
        taxonomy.store(session, category())
        made.key = create_key(session, "bench", [Scope.TICKETS_WRITE, Scope.TICKETS_READ])[1]
        same = {"name": "tutorial", "digest": "", "engine": "timed", "engine_version": "1", "prompt_version": "tuned-1"}
        session.add(LlmVersion(**same, demo=True))
    database.dispose()
