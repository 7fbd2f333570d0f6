"""Run by Alembic: one connection, one transaction for each migration, short lock waits, one migrator at a time."""

from alembic import context
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

import models.rollups  # noqa: F401 (tables too)
from migrations import LOCK, OTHER_S
from models.db import database_url
from models.errors import Unavailable
from models.tables import Base

SEARCH_INDEX = "ix_tickets_search"


def _is_compared(item: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
    """Alembic takes an index over an expression for a new one at every comparison; a test looks at this one instead."""
    return name != SEARCH_INDEX


def _lock(connection: Connection) -> None:
    """Waits for another migrator, but not for ever: it may be frozen."""
    connection.execute(text(f"SET lock_timeout = '{1000 * OTHER_S:.0f}ms'"))
    try:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            raise Unavailable("Another triage is changing this database's schema; try again when it is done.") from None
        raise
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.commit()


def run() -> None:
    url = context.config.attributes.get("url") or database_url(context.get_x_argument(as_dictionary=True)["url"])
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        _lock(connection)
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            include_object=_is_compared,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
