"""Postgres and Redis as this project runs them: settings, first start, readiness, stop. Used by embedded.py."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from models.db import Patient
from models.errors import ServerError
from service import binaries
from service.children import POLL_SECONDS, Child, bound, nothing, stop_leftovers
from service.datadir import POSTGRES_SOCKET, REDIS_SOCKET, make_private

RECOVERY_SECONDS = 300.0
ANSWER_SECONDS = 10.0  # for one statement: making a database may take some of them
REDIS_START_SECONDS = 30.0
PROGRESS_SECONDS = 2.0

Progress = Callable[[str], None]

POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    # Tickets must not reach the log: an error is reported to the client that caused it, and a client can cause many.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}
# No persistence: Redis only carries nudges, and every worker also looks by itself.
REDIS_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "dir": ".",
    "save": "",
    "appendonly": "no",
    "maxmemory": "64mb",
    "maxmemory-policy": "noeviction",
    "loglevel": "warning",
}


class Postgres:
    """One cluster in DATA_DIR/postgres."""

    # SIGINT is Postgres's "fast" stop: it ends the sessions and writes a checkpoint, so that the next start needs no
    # recovery. It is also the parent-death signal: a killed `up` should not cost the recovery either. SIGQUIT stops
    # at once and leaves the recovery to the next start.
    calm = ((signal.SIGINT, 60.0),)
    hard = ((signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
    names = frozenset({"postgres"})

    def __init__(self, data_dir: Path, sockets: Path):
        self.folder = data_dir / "postgres"
        self.sockets = sockets
        self.admin = f"user=triage dbname=postgres host={sockets} port=5432"
        settings = POSTGRES_SETTINGS | {"unix_socket_directories": str(sockets)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.child = Child(
            name="Postgres",
            argv=binaries.for_postgres([binaries.postgres_program("postgres"), "-D", str(self.folder), *options]),
            calm=self.calm,
            hard=self.hard,
            env=_environment(),
            log=data_dir / "log" / "postgres.log",
        )

    def start(self, progress: Progress, meanwhile: Callable[[], None] = nothing) -> None:
        """Returns when it answers and has our database; calls `meanwhile` again and again until then."""
        if self.child.process is None:  # what has run before needs no look, and the look may hang like any process
            binaries.check_postgres()
        if not self.folder.exists():
            self._initialise(progress)
        _end_leftovers(self.child, self.folder, self.names, progress, meanwhile)
        self._forget_stale_records()
        self.child.start()
        self._wait(progress, meanwhile)

    def _initialise(self, progress: Progress) -> None:
        """Makes the cluster under another name first, so that a half-made one is never taken for a cluster."""
        progress("Creating the database files.")
        unfinished = self.folder.with_name("postgres.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        # Trust is safe only because the sockets lie in a 0700 folder of ours and nothing listens on TCP: whoever can
        # reach the socket could read the files as well. Peer would see the number that the namespace gives root.
        command = [binaries.postgres_program("initdb"), "-D", str(unfinished), "--username=triage", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C", "--data-checksums"]
        result = subprocess.run(  # noqa: S603  our own program, no shell
            bound(binaries.for_postgres(command), signal.SIGKILL), env=_environment(), capture_output=True, check=False
        )
        if result.returncode != 0:
            reason = result.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise ServerError(f"Postgres could not create its files in {self.folder}: {reason[-1]}")
        unfinished.rename(self.folder)

    def _forget_stale_records(self) -> None:
        """Postgres would refuse to start where another program has got the process number of a killed Postgres.

        A number that nobody has is left to Postgres, which then also looks for its own shared memory.
        """
        for record in (self.folder / "postmaster.pid", self.sockets / f"{POSTGRES_SOCKET}.lock"):
            number = record.read_text().partition("\n")[0].strip() if record.exists() else ""
            if number.isdigit() and psutil.pid_exists(int(number)):
                record.unlink()

    def _wait(self, progress: Progress, meanwhile: Callable[[], None]) -> None:
        started = said = time.monotonic()
        while not self._answers():
            now = time.monotonic()
            if now - started > RECOVERY_SECONDS or not self.child.running():
                raise _did_not_start(self.child)
            if now - said > PROGRESS_SECONDS:
                said = now
                progress(
                    f"Postgres is starting; after an unclean stop it first repairs its files ({now - started:.0f} s)."
                )
            meanwhile()
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        """Whether it is there, and has our database. It may freeze at any moment, and nobody is to wait for that."""
        try:
            with Patient.connect(self.admin, autocommit=True, connect_timeout=5) as connection:
                connection.patience_s = ANSWER_SECONDS
                self._create_database(connection)
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self, connection: Patient) -> None:
        try:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'triage'").fetchone():
                connection.execute("CREATE DATABASE triage")
        except psycopg.Error as error:
            if error.sqlstate is None:  # no answer at all
                raise
            raise ServerError(f"Postgres runs but could not create the database: {error}") from error


class Redis:
    """A Redis without files, working in DATA_DIR/redis."""

    calm = ((signal.SIGTERM, 5.0),)
    hard = ((signal.SIGKILL, 10.0),)
    names = frozenset({"redis-server", "valkey-server"})

    def __init__(self, data_dir: Path, sockets: Path):
        self.folder = data_dir / "redis"
        self.socket = sockets / REDIS_SOCKET
        settings = REDIS_SETTINGS | {"unixsocket": str(self.socket)}
        self.child = Child(
            name="Redis",
            argv=[
                binaries.redis_program(),
                *(part for name, value in settings.items() for part in (f"--{name}", value)),
            ],
            calm=self.calm,
            hard=self.hard,
            env=_environment(),
            cwd=self.folder,
            log=data_dir / "log" / "redis.log",
        )

    def start(self, progress: Progress, meanwhile: Callable[[], None] = nothing) -> None:
        """Returns when it answers; calls `meanwhile` again and again until then."""
        make_private(self.folder)
        _end_leftovers(self.child, self.folder, self.names, progress, meanwhile)
        self.child.start()
        deadline = time.monotonic() + REDIS_START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or not self.child.running():
                raise _did_not_start(self.child)
            meanwhile()
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        # The client's own retries would sleep for seconds where ours look every few milliseconds.
        once = Retry(NoBackoff(), retries=0)
        with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5, retry=once) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


def _environment() -> dict[str, str]:
    """Our environment without our secrets and without the variables that would change Postgres's own defaults."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRIAGE_", "PG"))}
    return kept | {"LC_ALL": "C"}


def _end_leftovers(
    child: Child, folder: Path, names: frozenset[str], progress: Progress, meanwhile: Callable[[], None]
) -> None:
    if not stop_leftovers(folder, names, ()):
        progress(f"Stopping a {child.name} that an earlier triage has left behind.")
        if not stop_leftovers(folder, names, (*child.calm, *child.hard), meanwhile):
            raise ServerError(f"A {child.name} from an earlier triage in {folder} does not stop: end it by hand.")


def _did_not_start(child: Child) -> ServerError:
    if not child.running():
        return ServerError(f"{child.name} did not start ({child.ending()}).")
    child.stop()
    return ServerError(f"{child.name} took too long to start: its log {child.log} may say why.")
