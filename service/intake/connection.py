"""A connection of the door to Postgres: opened by its writers, and to see whether tickets are taken again."""

from typing import Any

from psycopg import AsyncConnection

from models.db import SESSION

# For a row or table that another transaction holds. It is above the second after which Postgres finds a deadlock, which
# is only tried again.
LOCK_TIMEOUT = "1500ms"
OPTIONS = f"{SESSION} -c lock_timeout={LOCK_TIMEOUT}"


async def connect(conninfo: str, name: str) -> AsyncConnection[Any]:
    """Under this name in pg_stat_activity; each statement outside of a transaction is one."""
    return await AsyncConnection.connect(
        conninfo, autocommit=True, connect_timeout=5, application_name=name, options=OPTIONS
    )
