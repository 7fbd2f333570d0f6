"""Many rows of one table in one statement. Used by workers, where the ORM's insert took half of a batch's time."""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Dialect, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from models.tables import Base

DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
PLAIN = frozenset({str, int, bool, type(None), UUID})  # none of them can be without end


class NotFinite(ValueError):
    """NaN or infinity, which JSON cannot carry: as null it would be a number that nobody has."""


def insert_rows(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows, all with the keys of the first; what no key names has its default. One JSON text carries them.

    Raises DataError, as for all data that Postgres cannot take, where a number is not finite.
    """
    if rows:
        if not _finite(rows):
            raise DataError(None, None, NotFinite(f"A number for {table.__tablename__} is not finite."))
        packed = orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)
        session.execute(_statement(table, tuple(rows[0])), {"rows": packed.decode()})


def _finite(values: Iterable[Any]) -> bool:
    """Whether no number among them is without end, however deep; most values are of a few kinds."""
    for value in values:
        kind = type(value)
        if not (kind in PLAIN or (kind is float and math.isfinite(value)) or _sound(value)):
            return False
    return True


def _sound(value: Any) -> bool:
    """The rest by comparison, because numpy's numbers are not all floats."""
    if isinstance(value, dict):
        return _finite(value.values())
    if isinstance(value, list | tuple):
        return _finite(value)
    return bool(value == value) and value not in (math.inf, -math.inf)  # NaN is not equal to itself


@cache
def _statement(table: type[Base], names: tuple[str, ...]) -> TextClause:
    columns = table.__table__.columns
    kinds = ", ".join(f"{name} {columns[name].type.compile(DIALECT)}" for name in names)
    return text(f"""
        INSERT INTO {table.__tablename__} ({", ".join(names)})
        SELECT {", ".join(names)} FROM json_to_recordset(CAST(:rows AS json)) AS new ({kinds})""")  # noqa: S608 (our own names)
