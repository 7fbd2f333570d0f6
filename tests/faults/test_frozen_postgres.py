"""Postgres frozen with all that it has started: its connections stay up, and none of them ever says a word again."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import psutil
import pytest
from processes import Up, eventually

# Under what a request may take: a full pool, the check of a connection, and a new one, each as long as it can be.
BOUND_S = 60
READERS = 50  # more than there are threads, and than connections
PATHS = ("/v1/tickets", "/v1/tickets?q=card", "/v1/report", "/v1/llms", "/metrics")
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'triage'"
MOST_OURS = 2 * 10 + 2  # of the API's pool and the worker's, and of /readyz


@dataclass
class Readers:
    """Threads that read until told to stop, each one path over a connection of its own."""

    up: Up
    enough: threading.Event = field(default_factory=threading.Event)
    answers: list[httpx.Response] = field(default_factory=list)

    def read(self, path: str) -> None:
        with self.up.client() as client:
            while not self.enough.is_set():
                self.answers.append(client.get(path, timeout=BOUND_S))
                self.enough.wait(0.05)

    def since(self, count: int) -> list[httpx.Response]:
        return self.answers[count:]


@pytest.fixture
def readers(up: Up) -> Iterator[Readers]:
    made = Readers(up)
    threads = [threading.Thread(target=made.read, args=(PATHS[n % len(PATHS)],)) for n in range(READERS)]
    for thread in threads:
        thread.start()
    yield made
    made.enough.set()
    for thread in threads:
        thread.join()


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """It and its children, first itself, so that it starts no further one."""
    stopped = []
    try:
        while late := {process, *process.children(recursive=True)} - set(stopped):
            for one in late:
                stopped.append(one)
                with suppress(psutil.NoSuchProcess):
                    one.send_signal(signal.SIGSTOP)
        yield
    finally:
        for one in stopped:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)


def get(up: Up, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{up.port}{path}", timeout=BOUND_S, trust_env=False)


def test_who_reads_is_told_to_come_again(up: Up, readers: Readers) -> None:
    """In flight: fifty readers of tickets, reports and figures, whose statements are stopped wherever they are."""
    serve = up.part("serve")
    eventually(lambda: len(readers.answers) >= 2 * READERS)
    with frozen(up.part("postgres")):
        before = len(readers.answers)
        assert get(up, "/healthz").json() == {"status": "ok"}
        ready = get(up, "/readyz")
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "5")
        assert "Postgres" in ready.json()["missing"][0]
        eventually(lambda: len([a for a in readers.since(before) if a.status_code == 503]) >= READERS, BOUND_S)
        assert get(up, "/healthz").json() == {"status": "ok"}
    refused = [answer for answer in readers.answers if answer.status_code == 503]
    assert {answer.headers["retry-after"] for answer in refused} == {"5"}
    assert {answer.status_code for answer in readers.answers} == {200, 503}
    up.until("ok")
    after = len(readers.answers)
    eventually(lambda: len([a for a in readers.since(after) if a.status_code == 200]) >= 2 * READERS)
    assert up.part("serve").pid == serve.pid
    eventually(lambda: up.one(OURS) <= MOST_OURS, why="connections were left behind")
    up.expire_leases()
