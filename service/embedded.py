"""Real Postgres and Redis as children of this process, on unix sockets only; `up`, `demo` and the tests start them.

DATA_DIR holds lock, run/ (sockets), postgres/, redis/ and log/. `EmbeddedServers` starts, checks and stops; `running`
finds the servers of another process.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from models.errors import ServerError
from service.children import never, nothing
from service.datadir import POSTGRES_SOCKET, REDIS_SOCKET, Urls, hold, make_private, make_sockets, remove_sockets
from service.servers import Postgres, Progress, Redis


class EmbeddedServers:
    """The servers of one data folder. As a context manager it starts on entry and stops on exit."""

    def __init__(self, data_dir: Path, progress: Progress, *, postgres: bool = True, redis: bool = True):
        self.data_dir = data_dir.absolute()
        self.progress = progress
        self.wanted = [server for server, on in ((Postgres, postgres), (Redis, redis)) if on]
        self.servers: list[Postgres | Redis] = []
        self.lock: int | None = None

    def start(self) -> Urls:
        """Takes the lock and starts what was asked for, from the main thread; after a failure `stop` is still due."""
        # A folder that is there already keeps its mode: it may be one that the user shares on purpose.
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock = hold(self.data_dir)
        make_private(self.data_dir / "log")
        sockets = make_sockets(self.data_dir)
        self.servers = [server(self.data_dir, sockets) for server in self.wanted]
        for server in self.servers:
            server.start(self.progress)
        return Urls(sockets)

    def check(self, meanwhile: Callable[[], None] = nothing) -> bool:
        """Starts a server again that has died, from the main thread; true when none had.

        `meanwhile` is called again and again until it answers: a Postgres that died may repair its files for minutes.
        Raises ServerError for one that does not start, when the others were seen to.
        """
        dead = [server for server in self.servers if not server.child.running()]
        errors = [error for server in dead if (error := self._revived(server, meanwhile)) is not None]
        for server in self.servers:
            server.child.trim_log()
        if errors:
            raise errors[0]
        return not dead

    def _revived(self, server: Postgres | Redis, meanwhile: Callable[[], None]) -> ServerError | None:
        """Starts it again; what kept it from that."""
        name = server.child.name
        self.progress(f"{name} has stopped by itself ({server.child.ending()}); starting it again.")
        try:
            server.start(self.progress, meanwhile)
        except ServerError as error:
            return error
        except OSError as error:  # no memory, or no process, for the moment
            return ServerError(f"{name} could not be started: {error.strerror}.")
        return None

    def stop(self, hurried: Callable[[], bool] = never) -> None:
        """Stops Redis, then Postgres; without patience from the moment when `hurried` is true."""
        for server in reversed(self.servers):
            server.child.stop(hurried)
        self.servers = []
        if self.lock is not None:
            remove_sockets(self.data_dir)
            os.close(self.lock)
            self.lock = None

    def __enter__(self) -> Urls:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *error: object) -> None:
        self.stop()


def running(data_dir: Path) -> Urls | None:
    """How to reach the servers that an `up` has started on this data folder, be it only one; None when none answers."""
    sockets = (data_dir / "run").resolve()
    return Urls(sockets) if any(_answers(sockets / name) for name in (POSTGRES_SOCKET, REDIS_SOCKET)) else None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
