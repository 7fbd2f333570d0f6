"""backup and restore: everything in Postgres as one file, by Postgres's own pg_dump and pg_restore."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import func, select

import migrations
from models.db import database_url as parse
from models.errors import ConfigError, ServerError
from models.tables import Ticket
from models.whole import whole
from service import settings
from service.binaries import postgres_program
from service.children import bound
from service.cli.common import DataDir, counted, database_url, one_transaction, say

MAGIC = b"PGDMP"  # of pg_dump's custom format
File = Annotated[Path, typer.Argument(help="The backup file")]


def register(app: typer.Typer) -> None:
    app.command()(backup)
    app.command()(restore)


def backup(file: File, data_dir: DataDir = None) -> None:
    """Writes the whole store to a file that only this user can read, while the service runs on."""
    if file.exists():
        raise ConfigError(f"{file} exists already: choose another name.")
    if not file.parent.is_dir():
        raise ConfigError(f"There is no folder {file.parent}.")
    url = database_url(settings.settings(data_dir=data_dir))
    with whole(file) as part:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL, 0o600))
        _run(url, "pg_dump", "--format=custom", f"--file={part}")
    say(f"Wrote {file} ({file.stat().st_size:,} bytes). It holds ticket texts: keep it as safe as the tickets.")


def restore(
    file: File,
    data_dir: DataDir = None,
    replace: Annotated[bool, typer.Option(help="Replace the tickets that are in the store now")] = False,
) -> None:
    """Puts a backup back, all of it or nothing, and brings it to this version's schema."""
    _require_backup(file)
    url = database_url(settings.settings(data_dir=data_dir))
    migrations.upgrade(url)  # so that an empty Postgres can be restored into
    tickets = _tickets(url)
    if tickets and not replace:
        raise ConfigError(f"The store holds {tickets} tickets: back them up, then say --replace to overwrite them.")
    how = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error")
    try:
        _run(url, "pg_restore", *how, str(file))
    except ServerError as error:
        raise ServerError(f"{error.message}. The store is as it was.") from None
    migrations.upgrade(url)
    say(
        f"Restored {file}: {counted(_tickets(url), 'ticket')}, where there were {tickets:,} before. The API keys are "
        "those of the backup: if you have none of them, make one with triage keys create NAME --scope admin."
    )


def _require_backup(file: Path) -> None:
    """Before the store is touched; whether the rest of it is whole, pg_restore finds."""
    if not file.is_file():
        raise ConfigError(f"There is no file {file}.")
    with file.open("rb") as opened:
        if opened.read(len(MAGIC)) != MAGIC:
            raise ConfigError(f"{file} is no backup: restore takes what triage backup wrote.")


def _tickets(url: str) -> int:
    with one_transaction(url) as session:
        return session.scalar(select(func.count()).select_from(Ticket)) or 0


def _run(url: str, program: str, *arguments: str) -> None:
    """Runs one of Postgres's programs on the store; the password goes by the environment, which others cannot list.

    It ends with us: whoever kills a restore does not expect it to go on.
    """
    parsed = parse(url)
    # `URL.set` leaves a password that it is told to remove.
    address = parsed._replace(drivername="postgresql", password=None).render_as_string(hide_password=False)
    password = {"PGPASSWORD": parsed.password} if parsed.password else {}
    command = bound([postgres_program(program), f"--dbname={address}", *arguments], signal.SIGTERM)
    environment = {**os.environ, **password}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 (no shell)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ServerError(f"{program} failed: {last}")
