"""The tables that reports are read from. They are made from the rows of `tables`; the service's rollups write them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BIGINT, CheckConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables import Base, RowNumber


class StaleHour(Base):
    """A mark that rows of an hour have changed since they were counted, written by Postgres's triggers."""

    __tablename__ = "stale_hours"
    id: Mapped[RowNumber]
    hour: Mapped[datetime]
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class _OfASpan:
    """What counts are of: an hour or a day, an experiment, a field."""

    span: Mapped[str] = mapped_column(primary_key=True)
    start: Mapped[datetime] = mapped_column(primary_key=True)
    experiment: Mapped[str] = mapped_column(primary_key=True, comment="empty: of none")
    field: Mapped[str] = mapped_column(
        primary_key=True, comment="empty: of the tickets themselves, once they are deleted"
    )
    __table_args__: Any = (CheckConstraint("span IN ('hour', 'day')", name="span"),)


class ReportCounts(_OfASpan, Base):
    """What a report needs to know of one field in one hour or day, as one document of counts."""

    __tablename__ = "report_counts"
    document: Mapped[dict[str, Any]]


class ReportPairs(_OfASpan, Base):
    """On how many judged tickets of one hour or day two llm versions were right; and how many they both answered."""

    __tablename__ = "report_pairs"
    source: Mapped[str] = mapped_column(primary_key=True, comment="of truth; empty: tickets that the coin drew")
    llm_a: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    llm_b: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    both_right: Mapped[int] = mapped_column(BIGINT, server_default="0")
    only_a: Mapped[int] = mapped_column(BIGINT, server_default="0")
    only_b: Mapped[int] = mapped_column(BIGINT, server_default="0")
    neither: Mapped[int] = mapped_column(BIGINT, server_default="0")
    answered: Mapped[int] = mapped_column(BIGINT, server_default="0")


class FrozenHours(Base):
    """The hour before which counts stay as they are, because rows were deleted; the latest row counts."""

    __tablename__ = "frozen_hours"
    before: Mapped[datetime] = mapped_column(primary_key=True, comment="the rows of earlier hours may be deleted")
