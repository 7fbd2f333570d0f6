"""Many rows of one table in one statement. Used by workers, where the ORM's insert took half of a batch's time."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson
from sqlalchemy import Dialect, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.tables import Base

DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


def insert_rows(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows, all with the keys of the first; what no key names has its default. One JSON text carries them.

    Raises ValueError for a number that is not finite, which JSON cannot carry.
    """
    if rows:
        packed = orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)
        session.execute(_statement(table, tuple(rows[0])), {"rows": packed.decode()})


@cache
def _statement(table: type[Base], names: tuple[str, ...]) -> TextClause:
    columns = table.__table__.columns
    kinds = ", ".join(f"{name} {columns[name].type.compile(DIALECT)}" for name in names)
    return text(f"""
        INSERT INTO {table.__tablename__} ({", ".join(names)})
        SELECT {", ".join(names)} FROM json_to_recordset(CAST(:rows AS json)) AS new ({kinds})""")  # noqa: S608 (our own names)
