"""How the rows change: upgrade, check and downgrade, called by the command line and the tests."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from models.db import database_url

HERE = Path(__file__).parent


def config(url: str) -> Config:
    """Alembic's settings for one database."""
    made = Config()
    made.set_main_option("script_location", str(HERE))
    made.attributes["url"] = database_url(url)
    return made


def upgrade(url: str, revision: str = "head") -> None:
    """Brings the database to a revision; waits at most 5 s for each lock, so it never blocks a running service."""
    command.upgrade(config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Takes the database back to a revision (`base` is empty)."""
    command.downgrade(config(url), revision)


def check(url: str) -> None:
    """Raises alembic's CommandError when the tables in the code differ from the migrated database."""
    command.check(config(url))


def head() -> str:
    """The newest revision in this code."""
    newest = ScriptDirectory(str(HERE)).get_current_head()
    assert newest is not None, "there is always a first migration"  # noqa: S101
    return newest


def current(url: str) -> str | None:
    """The revision the database is at; None when it was never migrated."""
    engine = create_engine(database_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
