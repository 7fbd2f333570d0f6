"""The data folder of an embedded installation: its lock, and the private folder of its sockets. Used by embedded.py."""

import fcntl
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from models.errors import ServerError

POSTGRES_SOCKET = ".s.PGSQL.5432"
REDIS_SOCKET = "redis.sock"
SOCKET_PATH_LIMIT = 107  # bytes that the kernel's sockaddr_un holds, without the closing NUL


@dataclass(frozen=True)
class Urls:
    """How to reach the servers whose sockets lie in `sockets`."""

    sockets: Path

    @property
    def database_url(self) -> str:
        return f"postgresql+psycopg://triage@/triage?host={self.sockets}&port=5432"

    @property
    def redis_url(self) -> str:
        """For redis-py."""
        return f"unix://{self.sockets / REDIS_SOCKET}"


def make_private(folder: Path) -> None:
    """Creates the folder, and whatever is missing above it, for this user alone; nothing above it is changed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:
        folder.chmod(0o700)


def hold(data_dir: Path) -> int:
    """Takes the lock of the data folder, or says who has it. Closing the returned descriptor gives it back."""
    handle = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(handle, 20).decode().strip() or "unknown"
        os.close(handle)
        raise ServerError(
            f"The data folder {data_dir} is in use by another triage (process {owner}): "
            "stop that one, or choose another folder with --data-dir."
        ) from None
    os.truncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def make_sockets(data_dir: Path) -> Path:
    """The folder for sockets, 0700: DATA_DIR/run, or what that links to where the path would be too long for a socket.

    Letters that mean something in a URL or to Postgres (a comma parts two folders) also need the link.
    """
    run = data_dir / "run"
    if _fits(run) and not run.is_symlink():
        make_private(run)
        return run
    if not (run.is_symlink() and _is_private(run.readlink())):
        _remove(run)
        run.symlink_to(tempfile.mkdtemp(prefix="triage-"))
    if not _fits(run.readlink()):
        raise ServerError("Sockets need a short path here: set TMPDIR to a folder such as /tmp.")
    return run.readlink()


def remove_sockets(data_dir: Path) -> None:
    """Empties the folder of sockets when their servers have ended, and removes one outside of the data folder."""
    run = data_dir / "run"
    for name in (POSTGRES_SOCKET, f"{POSTGRES_SOCKET}.lock", REDIS_SOCKET):
        (run / name).unlink(missing_ok=True)
    if run.is_symlink():
        _remove(run)


def _remove(run: Path) -> None:
    """Removes the folder or the link, and what it links to if that is ours."""
    if run.is_symlink():
        if _is_private(run.readlink()):
            shutil.rmtree(run.readlink())
        run.unlink()
    elif run.exists():
        shutil.rmtree(run)


def _fits(folder: Path) -> bool:
    longest = max(len(POSTGRES_SOCKET), len(REDIS_SOCKET))
    return bool(re.fullmatch(r"[A-Za-z0-9/._-]+", str(folder))) and len(str(folder)) + 1 + longest <= SOCKET_PATH_LIMIT


def _is_private(folder: Path) -> bool:
    """Only a folder of our own, closed to others, is taken again: anybody can make names in a shared /tmp."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700
