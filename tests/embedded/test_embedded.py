"""The embedded servers with real processes: what listens where, what survives, and who is never killed."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis
from kombu import Connection
from processes import gone, names, sockets

from models.db import Patient
from models.errors import ServerError
from service.datadir import Urls
from service.embedded import EmbeddedServers, running
from service.queue import broker_url

PATIENCE_S = 3600.0  # more than a test may take
OWNER = Path(__file__).with_name("owner.py")


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """One pair of servers for the tests that only look."""
    servers = EmbeddedServers(tmp_path_factory.mktemp("shared") / "data", quiet)
    with servers:
        yield servers


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EmbeddedServers]:
    """A pair of its own for a test that hurts it."""
    servers = EmbeddedServers(tmp_path / "data", quiet)
    with servers:
        yield servers


def ask(urls: Urls, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(urls.database_url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def urls_of(servers: EmbeddedServers) -> Urls:
    found = running(servers.data_dir)
    assert found is not None
    return found


def pid_of(servers: EmbeddedServers, name: str) -> int:
    (pid,) = [one.child.process.pid for one in servers.servers if one.child.name == name and one.child.process]
    return pid


def no_memory(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def kill(servers: EmbeddedServers, name: str) -> None:
    os.kill(pid_of(servers, name), signal.SIGKILL)
    wait_until(lambda: not any(one.child.running() for one in servers.servers if one.child.name == name))


def test_both_answer_under_every_url(shared: EmbeddedServers) -> None:
    urls = urls_of(shared)
    assert ask(urls, "SELECT current_user, current_database()") == [("triage", "triage")]
    assert ask(urls, "SHOW server_encoding") == [("UTF8",)]
    with redis.Redis.from_url(urls.redis_url) as client:
        assert client.ping()
    with Connection(broker_url(urls.redis_url)) as broker:
        broker.ensure_connection(max_retries=1, timeout=5)


def test_commits_are_durable_and_redis_refuses_rather_than_forgets(shared: EmbeddedServers) -> None:
    urls = urls_of(shared)
    for setting in ("fsync", "synchronous_commit", "data_checksums"):
        assert ask(urls, f"SHOW {setting}") == [("on",)]
    with redis.Redis.from_url(urls.redis_url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("save") == {"save": ""}


def test_nothing_listens_on_tcp(shared: EmbeddedServers) -> None:
    parents = [psutil.Process(pid_of(shared, name)) for name in ("Postgres", "Redis")]
    processes = parents + [child for parent in parents for child in parent.children(recursive=True)]
    assert {"postgres", "redis-server"} == names(parents)
    assert [found for process in processes for found in sockets(process)] == []


def test_sockets_lie_in_a_private_folder(shared: EmbeddedServers) -> None:
    for folder in (shared.data_dir, urls_of(shared).sockets):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_folders_above_and_a_shared_data_folder_keep_their_mode(tmp_path: Path) -> None:
    above, data_dir = tmp_path / "above", tmp_path / "above" / "data"
    data_dir.mkdir(parents=True)
    for folder in (above, data_dir):
        folder.chmod(0o751)
    with EmbeddedServers(data_dir, quiet, postgres=False):
        pass
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (above, data_dir)] == [0o751, 0o751]


def test_our_secrets_do_not_reach_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_API_KEY", "secret")
    servers = EmbeddedServers(tmp_path / "data", quiet, postgres=False)
    with servers:
        assert running(tmp_path / "data") is not None
        assert "TRIAGE_API_KEY" not in psutil.Process(pid_of(servers, "Redis")).environ()


def test_ticket_text_in_an_error_does_not_reach_the_log(shared: EmbeddedServers) -> None:
    urls = urls_of(shared)
    ask(urls, "CREATE TABLE letters (body text PRIMARY KEY)")
    for error in (None, psycopg.errors.UniqueViolation):
        if error is None:
            ask(urls, "INSERT INTO letters VALUES ('private words')")
        else:
            with pytest.raises(error):
                ask(urls, "INSERT INTO letters VALUES ('private words')")
    assert "private words" not in (shared.data_dir / "log" / "postgres.log").read_text()


def test_a_second_start_is_refused_in_a_sentence(shared: EmbeddedServers) -> None:
    second = EmbeddedServers(shared.data_dir, quiet)
    with pytest.raises(ServerError, match=rf"is in use by another triage \(process {os.getpid()}\): stop that one"):
        second.start()
    second.stop()
    assert ask(urls_of(shared), "SELECT 1") == [(1,)]


def test_data_survive_a_restart_and_stopping_is_seen_from_outside(tmp_path: Path) -> None:
    servers = EmbeddedServers(tmp_path / "data", quiet)
    with servers as urls:
        ask(urls, "CREATE TABLE kept AS SELECT 7 AS number")
    assert running(tmp_path / "data") is None
    with servers as urls:
        assert ask(urls, "SELECT number FROM kept") == [(7,)]


def test_a_data_folder_with_a_long_and_odd_name_works(tmp_path: Path) -> None:
    data_dir = tmp_path / ("a long name, with a comma and ü " * 4) / "data"
    servers = EmbeddedServers(data_dir, quiet)
    with servers as urls:
        assert ask(urls, "SELECT 1") == [(1,)]
        assert running(data_dir) == urls
        assert stat.S_IMODE(urls.sockets.stat().st_mode) == 0o700
    assert not urls.sockets.exists()


def test_a_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    half_made = tmp_path / "data" / "postgres.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with EmbeddedServers(tmp_path / "data", quiet, redis=False) as urls:
        assert ask(urls, "SELECT 1") == [(1,)]


def test_a_postgres_that_cannot_start_is_reported_in_its_own_words(tmp_path: Path) -> None:
    servers = EmbeddedServers(tmp_path / "data", quiet, redis=False)
    with servers:
        pass
    (tmp_path / "data" / "postgres" / "PG_VERSION").write_text("9.1\n")
    with (
        pytest.raises(ServerError, match=r"did not start \(exit code 1: database files are incompatible"),
        servers,
    ):
        pass


def test_servers_end_when_their_owner_is_killed_and_the_next_start_finds_the_data(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, str(OWNER), str(tmp_path)], stdout=subprocess.PIPE)
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline()
        urls = running(tmp_path)
        assert urls is not None
        ask(urls, "CREATE TABLE kept AS SELECT 7 AS number")
        children = psutil.Process(owner.pid).children()
        assert {child.name() for child in children} == {"postgres", "redis-server"}
        owner.kill()
    with EmbeddedServers(tmp_path, quiet) as urls:
        assert ask(urls, "SELECT number FROM kept") == [(7,)]
        assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    log = (tmp_path / "log" / "postgres.log").read_text()
    assert "received fast shutdown request" in log
    assert "not properly shut down" not in log


def test_living_leftovers_are_stopped_first(tmp_path: Path) -> None:
    said: list[str] = []
    first = EmbeddedServers(tmp_path, quiet)
    urls = first.start()
    ask(urls, "CREATE TABLE kept AS SELECT 7 AS number")
    assert first.lock is not None
    os.close(first.lock)  # as if its owner had died and the servers had not heard of it
    second = EmbeddedServers(tmp_path, said.append)
    with second as urls:
        assert ask(urls, "SELECT number FROM kept") == [(7,)]
        assert not any(server.child.running() for server in first.servers)
    assert said == [
        "Stopping a Postgres that an earlier triage has left behind.",
        "Stopping a Redis that an earlier triage has left behind.",
    ]


@pytest.mark.parametrize("record", ["postgres/postmaster.pid", "run/.s.PGSQL.5432.lock"])
def test_an_innocent_process_in_a_stale_record_is_left_alone(tmp_path: Path, record: str) -> None:
    servers = EmbeddedServers(tmp_path, quiet, redis=False)
    with servers:
        lines = (tmp_path / record).read_text().splitlines()
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path / "postgres") as innocent:
        (tmp_path / record).write_text("\n".join([str(innocent.pid), *lines[1:], ""]))
        with servers as urls:
            assert ask(urls, "SELECT 1") == [(1,)]
        assert innocent.poll() is None
        innocent.kill()


def test_a_killed_postgres_comes_back_with_what_was_committed(own: EmbeddedServers) -> None:
    ask(urls_of(own), "CREATE TABLE kept AS SELECT 7 AS number")
    old = pid_of(own, "Postgres")
    kill(own, "Postgres")
    own.check()
    assert ask(urls_of(own), "SELECT number FROM kept") == [(7,)]
    assert pid_of(own, "Postgres") != old


def test_a_postgres_that_freezes_as_it_lets_us_in_keeps_nobody_waiting(
    own: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, frozen, calls = Patient.connect, [], []

    def freezing(*given: Any, **named: Any) -> Patient:
        connection = connect(*given, **named)
        if not frozen:
            postgres = psutil.Process(pid_of(own, "Postgres"))
            frozen.extend([postgres, *postgres.children(recursive=True)])
            for process in frozen:
                process.suspend()
        return connection

    def thaw() -> None:
        calls.extend(process.resume() for process in frozen)

    kill(own, "Postgres")
    monkeypatch.setattr("service.servers.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(Patient, "connect", freezing)
    late = threading.Timer(20, lambda: [process.resume() for process in frozen])
    late.start()  # for whoever waits all the same
    own.check(thaw)
    assert late.is_alive()
    late.cancel()
    assert calls
    assert ask(urls_of(own), "SELECT 1") == [(1,)]


def test_who_waits_for_a_frozen_child_of_a_dead_postgres_looks_after_the_others(own: EmbeddedServers) -> None:
    seen: list[bool] = []
    with psycopg.connect(urls_of(own).database_url.replace("+psycopg", "")) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        backend.suspend()
        kill(own, "Postgres")
        own.servers[0].child.calm = ((signal.SIGINT, 0.2),)
        own.servers[0].child.hard = ((signal.SIGKILL, 10.0),)
        own.check(lambda: seen.append(not gone([backend])))
    assert True in seen
    assert ask(urls_of(own), "SELECT 1") == [(1,)]


def test_redis_comes_back_where_postgres_cannot(own: EmbeddedServers) -> None:
    version = own.data_dir / "postgres" / "PG_VERSION"
    right = version.read_text()
    version.write_text("9.1\n")
    for name in ("Postgres", "Redis"):
        kill(own, name)
    with pytest.raises(ServerError, match="Postgres did not start"):
        own.check()
    assert [server.child.running() for server in own.servers] == [False, True]
    version.write_text(right)


def test_a_server_for_which_there_is_no_memory_is_told_in_a_sentence(
    own: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(own, "Redis")
    monkeypatch.setattr("service.children.subprocess.Popen", no_memory)
    with pytest.raises(ServerError, match=r"^Redis could not be started: Cannot allocate memory\.$"):
        own.check()
    monkeypatch.undo()
    own.check()
    assert all(server.child.running() for server in own.servers)


def test_a_killed_redis_comes_back(own: EmbeddedServers) -> None:
    kill(own, "Redis")
    own.check()
    with redis.Redis.from_url(urls_of(own).redis_url) as client:
        assert client.ping()


def test_a_long_recovery_is_told_and_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    servers = EmbeddedServers(tmp_path, said.append, redis=False)
    monkeypatch.setattr("service.servers.PROGRESS_SECONDS", 0.1)
    monkeypatch.setattr("service.servers.RECOVERY_SECONDS", 2.0)
    monkeypatch.setattr("service.servers.Postgres._answers", lambda self: False)
    with pytest.raises(ServerError, match="Postgres took too long to start"), servers:
        pass
    assert any("repairs its files" in sentence for sentence in said)
    assert running(tmp_path) is None


def test_check_leaves_living_servers_alone(shared: EmbeddedServers) -> None:
    before = [pid_of(shared, name) for name in ("Postgres", "Redis")]
    shared.check()
    assert [pid_of(shared, name) for name in ("Postgres", "Redis")] == before


def test_stopping_without_patience_is_quick_and_loses_nothing(tmp_path: Path) -> None:
    servers = EmbeddedServers(tmp_path, quiet)
    urls = servers.start()
    ask(urls, "CREATE TABLE kept AS SELECT 7 AS number")
    os.kill(pid_of(servers, "Redis"), signal.SIGSTOP)
    for server in servers.servers:
        server.child.calm = tuple((number, PATIENCE_S) for number, _ in server.child.calm)
    servers.stop(hurried=lambda: True)
    with servers as urls:
        assert ask(urls, "SELECT number FROM kept") == [(7,)]


def test_a_socket_without_a_server_counts_as_not_running(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "run" / ".s.PGSQL.5432"))
    assert running(tmp_path) is None
