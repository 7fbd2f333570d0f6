"""The supervisor with small stand-ins for the API and the worker, and with real servers where they matter."""

import datetime
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from models.errors import ServerError
from service.children import Child
from service.embedded import running
from service.supervisor import Backoff, Plan, Service, run

DUMMY = Path(__file__).with_name("dummy.py")
PATIENCE_S = 3600.0  # more than a test may take
NO_SERVERS = {"database_url": "postgresql://elsewhere/triage", "redis_url": "redis://elsewhere"}


def nothing(_: str) -> None:
    pass


def dummy(name: str, folder: Path, manner: str = "prompt") -> list[str]:
    return [sys.executable, str(DUMMY), name, str(folder), manner]


def plan(folder: Path, manner: str = "prompt", **changes: Any) -> Plan:
    """Ready when both stand-ins have noted their start."""
    settings: dict[str, Any] = {
        "data_dir": folder / "data",
        "api": dummy("api", folder, manner),
        "worker": dummy("worker", folder, manner),
        "migrate": nothing,
        "ready": lambda: all((folder / name).exists() for name in ("api", "worker")),
        "log_dir": folder / "data" / "log",
    }
    return Plan(**(settings | changes))


def notes(folder: Path, name: str) -> list[tuple[str, float]]:
    lines = (folder / name).read_text().splitlines()
    return [(what, float(at)) for what, at in (line.split() for line in lines)]


def logged(folder: Path, log: str, words: str) -> float:
    """When a server has last written these words; Postgres and Redis write UTC in forms of their own."""
    line = [line for line in (folder / "data" / "log" / log).read_text().splitlines() if words in line][-1].split()
    form = "%Y-%m-%d %H:%M:%S.%f" if log == "postgres.log" else "%d %b %Y %H:%M:%S.%f"
    stamp = " ".join(line[:2] if log == "postgres.log" else line[1:5])
    return datetime.datetime.strptime(stamp, form).replace(tzinfo=datetime.UTC).timestamp()


def press_ctrl_c(_: object = None) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_ctrl_c_stops_api_worker_redis_and_postgres_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    said: list[str] = []
    assert run(plan(tmp_path, "slow"), said.append, press_ctrl_c) is False
    assert "Stopping; press Ctrl-C again to stop without waiting." in said
    api, worker = dict(notes(tmp_path, "api")), dict(notes(tmp_path, "worker"))
    redis_ends = logged(tmp_path, "redis.log", "bye bye")
    postgres_asked = logged(tmp_path, "postgres.log", "received fast shutdown request")
    moments = [
        api["asked"],
        api["stopped"],
        worker["asked"],
        worker["stopped"],
        redis_ends + 0.001,
        postgres_asked + 0.001,
    ]
    assert moments == sorted(moments)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def once_asked() -> None:
        wait_until(lambda: len(notes(tmp_path, "api")) == 2)
        press_ctrl_c()

    def impatient(_: Service) -> None:
        threading.Thread(target=once_asked).start()
        press_ctrl_c()

    assert run(plan(tmp_path, "stubborn", stop_seconds=PATIENCE_S), nothing, impatient) is False
    assert [what for what, _ in notes(tmp_path, "api")] == ["started", "asked"]
    assert [what for what, _ in notes(tmp_path, "worker")] == ["started"]
    assert "received immediate shutdown request" in (tmp_path / "data" / "log" / "postgres.log").read_text()


def test_a_stubborn_child_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    assert run(plan(tmp_path, "stubborn", stop_seconds=2.0, **NO_SERVERS), nothing, lambda _: None)
    assert [what for what, _ in notes(tmp_path, "worker")] == ["started", "asked"]


def test_the_database_is_migrated_before_the_children_start(tmp_path: Path) -> None:
    seen: list[bool] = []

    def migrate(url: str) -> None:
        psycopg.connect(url.replace("+psycopg", "")).close()
        seen.append((tmp_path / "api").exists())

    assert run(plan(tmp_path, migrate=migrate), nothing, lambda _: None)
    assert seen == [False]
    assert running(tmp_path / "data") is None


def test_children_get_the_urls_and_the_environment_of_the_plan(tmp_path: Path) -> None:
    def look(service: Service) -> None:
        for child in service.children.values():
            assert child.process
            seen = psutil.Process(child.process.pid).environ()
            assert seen["TRIAGE_DATABASE_URL"] == NO_SERVERS["database_url"]
            assert seen["TRIAGE_REDIS_URL"] == NO_SERVERS["redis_url"]
            assert seen["TRIAGE_PORT"] == "1234"

    assert run(plan(tmp_path, env={"TRIAGE_PORT": "1234"}, **NO_SERVERS), nothing, look)


def test_a_child_that_died_is_started_again(tmp_path: Path) -> None:
    said: list[str] = []

    def kill_the_worker(service: Service) -> None:
        process = service.children["worker"].process
        assert process
        process.kill()
        service.watch(lambda: len(notes(tmp_path, "worker")) == 2)

    assert run(plan(tmp_path, **NO_SERVERS), said.append, kill_the_worker)
    assert said[0].startswith("The worker has stopped by itself (signal SIGKILL; its log is ")
    assert said[0].endswith("starting it again in 1 s.")
    assert [what for what, _ in notes(tmp_path, "worker")] == ["started", "started", "asked", "stopped"]
    assert [what for what, _ in notes(tmp_path, "api")] == ["started", "asked", "stopped"]


def test_a_child_for_which_there_is_no_memory_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    tries = iter([OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))])

    def start(child: Child, real: Callable[[Child], None] = Child.start) -> None:
        if (error := next(tries, None)) is not None:
            raise error
        real(child)

    def kill_the_worker(service: Service) -> None:
        process = service.children["worker"].process
        assert process
        monkeypatch.setattr(Child, "start", start)
        process.kill()
        service.watch(lambda: len(notes(tmp_path, "worker")) == 2)

    assert run(plan(tmp_path, **NO_SERVERS), said.append, kill_the_worker)
    assert said[1] == "The worker could not be started: Cannot allocate memory; trying again in 2 s."


def test_a_server_that_died_is_started_again_in_the_same_loop(tmp_path: Path) -> None:
    said: list[str] = []

    def stopped(name: str) -> bool:
        return any(line.startswith(f"{name} has stopped by itself (signal SIGKILL") for line in said)

    def kill_both(service: Service) -> None:
        for server in service.servers.servers:
            assert server.child.process
            server.child.process.kill()
        service.watch(lambda: stopped("Postgres") and stopped("Redis"))
        assert all(server.child.running() for server in service.servers.servers)
        assert running(service.plan.data_dir) is not None

    assert run(plan(tmp_path), said.append, kill_both)


def test_a_child_that_cannot_start_stops_everything_with_a_sentence(tmp_path: Path) -> None:
    before = psutil.Process().children()
    broken = [sys.executable, "-c", "raise SystemExit('port 8080 is taken')"]
    with pytest.raises(
        ServerError, match=r"The API has stopped while starting \(exit code 1: port 8080 is taken; its log"
    ):
        run(plan(tmp_path, api=broken, **NO_SERVERS), nothing)
    assert psutil.Process().children() == before


def test_an_api_that_never_gets_ready_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="The API was not ready within 0 seconds"):
        run(plan(tmp_path, ready=lambda: False, ready_seconds=0.1, **NO_SERVERS), nothing)


def test_a_failing_migration_and_a_ctrl_c_in_it_leave_nothing_behind(tmp_path: Path) -> None:
    before = psutil.Process().children()

    def fail(_: str) -> None:
        raise ServerError("The schema is newer than this program.")

    with pytest.raises(ServerError, match="newer"):
        run(plan(tmp_path, migrate=fail), nothing)
    assert run(plan(tmp_path, migrate=press_ctrl_c), nothing) is False
    assert psutil.Process().children() == before
    assert not (tmp_path / "api").exists()


def test_sigterm_is_as_good_as_ctrl_c_and_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run(plan(tmp_path, **NO_SERVERS), nothing, lambda _: os.kill(os.getpid(), signal.SIGTERM)) is False
    assert signal.getsignal(signal.SIGTERM) == before


def test_everything_ends_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    code = "import sys, pathlib; from test_supervisor import *; run(plan(pathlib.Path(sys.argv[1])), nothing)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=DUMMY.parent) as supervisor:
        wait_until(lambda: (tmp_path / "api").exists() and (tmp_path / "worker").exists())
        children = psutil.Process(supervisor.pid).children(recursive=True)
        assert len(children) > 4
        supervisor.kill()
    wait_until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in children))


def test_pauses_double_up_to_thirty_seconds_and_begin_anew_after_a_long_life() -> None:
    backoff, now, pauses = Backoff(), 1000.0, []
    for _ in range(7):
        pauses.append(backoff.schedule(now))
        now = backoff.due + 1
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert backoff.schedule(backoff.due + 61) == 1
