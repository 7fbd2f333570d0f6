"""What several commands share: options, the store of a running `up`, printing. Imported by the command groups only."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from sqlalchemy.orm import Session

from models.db import make_engine, transaction
from models.errors import ServerError
from service import embedded, settings

DataDir = Annotated[
    Path | None, typer.Option(help="Where the embedded servers keep their data [default: .triage, TRIAGE_DATA_DIR]")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]

# Without a terminal rich assumes 80 columns, which breaks tables in logs.
screen = Console(width=None if sys.stdout.isatty() else 120)
notes = Console(stderr=True)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]+")


def say(sentence: str) -> None:
    """Progress for people: on stderr, so that what a command prints can be piped."""
    notes.print(sentence, style="dim", highlight=False, markup=False, soft_wrap=True)


def counted(number: int, noun: str) -> str:
    """As in: 1 ticket, 2,000 tickets."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def tame(text: str) -> str:
    """Text of a stranger without what could move a terminal's cursor or hide words."""
    return _CONTROL.sub(" ", text)


def visible(text: str) -> str:
    """The same without what could be taken for rich's markup."""
    return escape(tame(text))


def print_json(value: Any) -> None:
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def database_url(found: settings.Settings) -> str:
    """The database of the settings, else that of a running `up`; raises ServerError when neither is there."""
    if found.database_url is not None:
        return found.database_url.get_secret_value()
    urls = embedded.running(found.data_dir)
    if urls is None:
        raise ServerError(
            f"No Triage is running on {found.data_dir}: start triage up first, or set TRIAGE_DATA_DIR to "
            "where it runs, or TRIAGE_DATABASE_URL."
        )
    return urls.database_url


def redis_url(found: settings.Settings) -> str | None:
    """The Redis of the settings, else that of a running `up`; None when neither is there."""
    if found.redis_url is not None:
        return found.redis_url.get_secret_value()
    urls = embedded.running(found.data_dir)
    return None if urls is None else urls.redis_url


def local_address(found: settings.Settings) -> str:
    """Where this machine reaches the API."""
    host = f"[{found.host}]" if ":" in found.host else found.host
    return f"http://{host}:{found.port}"


@contextmanager
def one_transaction(url: str) -> Iterator[Session]:
    """A connection and a transaction for one command."""
    engine = make_engine(url, pool_size=1, statement_timeout_s=600)
    try:
        with transaction(engine) as session:
            yield session
    finally:
        engine.dispose()


@contextmanager
def store(data_dir: Path | None) -> Iterator[Session]:
    """A transaction in the store that the settings or a running `up` name."""
    with one_transaction(database_url(settings.settings(data_dir=data_dir))) as session:
        yield session


def write_private(path: Path, text: str) -> None:
    """Writes a file that only this user can read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
