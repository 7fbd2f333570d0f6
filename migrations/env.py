"""Run by Alembic: one connection, one transaction for each migration, short lock waits, one migrator at a time."""

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

import models.rollups  # noqa: F401 (tables too)
from models.db import database_url
from models.tables import Base

SEARCH_INDEX = "ix_tickets_search"
MIGRATION_LOCK = 0x7472_6961_6765  # "triage": two processes that start together migrate one after the other


def _is_compared(item: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
    """Alembic takes an index over an expression for a new one at every comparison; a test looks at this one instead."""
    return name != SEARCH_INDEX


def run() -> None:
    url = context.config.attributes.get("url") or database_url(context.get_x_argument(as_dictionary=True)["url"])
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            include_object=_is_compared,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
