"""How the rows change: upgrade, check and downgrade, called by the command line and the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from models.db import database_url
from models.errors import ConfigError, Unavailable

HERE = Path(__file__).parent
LOCK = 0x7472_6961_6765  # "triage": two processes that start together migrate one after the other
OTHER_S = 60.0  # how long one waits for the other


@contextmanager
def _plainly() -> Iterator[None]:
    """What can go wrong with a database, in a sentence that holds no address and no password."""
    try:
        yield
    except OperationalError as error:
        if isinstance(error.orig, DeadlockDetected | LockNotAvailable):
            raise Unavailable("Another program holds a table that has to change; try again when it is done.") from None
        raise Unavailable("Postgres does not answer at the configured address; start it or mend the URL.") from None
    except CommandError:
        raise ConfigError("The database was migrated by a newer version of Triage; use that version.") from None


def config(url: str) -> Config:
    """Alembic's settings for one database."""
    made = Config()
    made.set_main_option("script_location", str(HERE))
    made.attributes["url"] = database_url(url)
    return made


def upgrade(url: str, revision: str = "head") -> None:
    """Brings the database to a revision; waits at most 5 s for each lock, so it never blocks a running service.

    Another upgrade of it is waited for, for a minute.
    """
    with _plainly():
        command.upgrade(config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Takes the database back to a revision (`base` is empty)."""
    with _plainly():
        command.downgrade(config(url), revision)


def check(url: str) -> None:
    """Raises alembic's CommandError when the tables in the code differ from the migrated database."""
    command.check(config(url))


@cache
def head() -> str:
    """The newest revision in this code."""
    newest = ScriptDirectory(str(HERE)).get_current_head()
    assert newest is not None, "there is always a first migration"  # noqa: S101
    return newest


def older() -> frozenset[str]:
    """The revisions before the newest one; any other that a database is at was made by a newer version."""
    return frozenset(script.revision for script in ScriptDirectory(str(HERE)).walk_revisions()) - {head()}


def current(url: str) -> str | None:
    """The revision the database is at; None when it was never migrated."""
    engine = create_engine(database_url(url), poolclass=NullPool)
    with _plainly(), engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
