"""One whole Triage as a user starts it, `triage up` with all its processes, for tests that hurt some of them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from serving import NO_TLS

from models.db import conninfo
from service.embedded import running

ROOT = Path(__file__).resolve().parent.parent
TRIAGE = [sys.executable, "-m", "service.cli"]
PARTS = {"postgres": "postgres", "redis": "redis-server"}  # the others are `triage serve` and `triage worker`


def eventually(true: Callable[[], Any], seconds: float = 45, why: str = "it did not happen in time") -> Any:
    """What `true` gives as soon as that is true; fails with the reason at the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, why
        time.sleep(0.05)  # many of these questions cost a connection, on a machine that is busy
    return found


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them have ended. Nobody may be left to reap one, so a zombie counts as ended."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def living(read: Callable[[], Any], ended: Any) -> Any:
    """What psutil reads of a process, or `ended`: Postgres's own children come and go."""
    try:
        return read()
    except psutil.NoSuchProcess:
        return ended


def names(processes: list[psutil.Process]) -> set[str]:
    return {living(process.name, "") for process in processes}


def sockets(process: psutil.Process) -> list[Any]:
    """The TCP and UDP sockets of a process."""
    found: list[Any] = living(lambda: process.net_connections("inet"), [])
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """For a process of ours: none of the user's own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TRIAGE_")} | more


class Up:
    """`triage up` on a data folder and a port of its own. What all of its processes print goes to one file."""

    def __init__(self, folder: Path, config: Path = ROOT / "triage.yaml", program: Sequence[str] = TRIAGE):
        self.folder = folder
        self.program = program
        self.data_dir = folder / "data"
        self.config = config
        self.port = free_port()
        self.printed = folder / "printed"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: psycopg.Connection | None = None

    def environment(self, **more: str) -> dict[str, str]:
        return environment(TRIAGE_CONFIG=str(self.config), TMPDIR=str(self.temporary)) | more

    def run(self, *words: str, **more: str) -> "subprocess.Popen[bytes]":
        """Starts another `triage` command beside it, which prints to a file of its own."""
        with (self.folder / f"printed-{words[0]}").open("wb") as output:
            return subprocess.Popen(
                [*TRIAGE, *words],
                env=self.environment(**more),
                cwd=self.folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def start(self, status: str = "ok") -> "Up":
        """Starts it and waits until /readyz says `status`."""
        with self.printed.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.program, "up", "--data-dir", str(self.data_dir), "--port", str(self.port)],
                env=self.environment(),
                cwd=self.folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.until(status)
        return self

    def until(self, status: str, seconds: float = 60) -> dict[str, Any]:
        """The answer of /readyz as soon as it has the status."""
        found: dict[str, Any] = eventually(lambda: self._ready(status), seconds, f"never {status}")
        return found

    def _ready(self, status: str) -> dict[str, Any] | None:
        assert self.alive(), self.output()
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=20, trust_env=False, verify=NO_TLS)
        except httpx.TransportError:
            return None
        found: dict[str, Any] = answer.json()
        return found if found["status"] == status else None

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def output(self) -> str:
        return self.printed.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def processes(self) -> list[psutil.Process]:
        """`up` and everything that it has started, down to Postgres's backends."""
        top = psutil.Process(self.pid)
        return [top, *top.children(recursive=True)]

    def part(self, name: str) -> psutil.Process:
        """The process called serve, worker, redis or postgres, as soon as it runs."""
        found: psutil.Process = eventually(lambda: self._part(name), why=f"no {name} is running")
        return found

    def _part(self, name: str) -> psutil.Process | None:
        for child in psutil.Process(self.pid).children():
            try:
                words = child.cmdline()
                # A program is there when launch.py has become it, a moment after the fork.
                if child.name() == PARTS.get(name) or (words[-1:] == [name] and "launch.py" not in " ".join(words)):
                    return child
            except psutil.NoSuchProcess:
                continue
        return None

    def send(self, name: str, number: signal.Signals) -> psutil.Process:
        """Sends a signal to a part."""
        part = self.part(name)
        part.send_signal(number)
        return part

    def interrupt(self, seconds: float = 60) -> int:
        """Ctrl-C: its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(seconds)

    def end(self) -> None:
        """For teardown: nothing of it may outlive the tests, whatever a test left frozen."""
        if self.alive():
            for process in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)
            self.interrupt()
        if self.connection is not None:
            self.connection.close()

    def client(self, **more: Any) -> httpx.Client:
        """A client with the key that `up` wrote."""
        key = (self.data_dir / "key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        base = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=base, headers=headers, timeout=60, trust_env=False, verify=NO_TLS, **more)

    def database_url(self) -> str:
        urls = running(self.data_dir)
        assert urls is not None, "its Postgres does not answer"
        return urls.database_url

    def redis_url(self) -> str:
        urls = running(self.data_dir)
        assert urls is not None, "its Postgres does not answer"
        return urls.redis_url

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Runs one statement in autocommit and gives its rows; over the connection of before, if that still lives."""
        before = self.connection
        try:
            return self._rows(statement, values)
        except psycopg.OperationalError:
            self.connection = None
            if before is None:
                raise
            return self._rows(statement, values)

    def _rows(self, statement: str, values: Sequence[Any]) -> list[Any]:
        if self.connection is None:
            self.connection = psycopg.connect(conninfo(self.database_url()), autocommit=True)
        cursor = self.connection.execute(statement, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *values: Any) -> Any:
        """The only value of the only row."""
        ((value,),) = self.sql(statement, *values)
        return value

    def expire_leases(self) -> None:
        """As if a minute had passed since their last renewal."""
        self.sql("UPDATE tickets SET lease_until = now() - interval '1 s' WHERE status = 'working'")

    def post_many(self, count: int, body: str, first: int = 0) -> list[str]:
        """Posts numbered tickets in one batch; their ids."""
        tickets = [{"body": f"{body} {number}"} for number in range(first, first + count)]
        with self.client() as client:
            answer = client.post("/v1/tickets/batch", content=json.dumps({"tickets": tickets}).encode(), headers=JSON)
        assert answer.status_code == 202, answer.text
        return [item["id"] for item in answer.json()["items"]]


JSON = {"Content-Type": "application/json"}
