"""Counts in Postgres: documents of hours and days, and the pairs in a table of their own. Called by `roll`, `freeze`
and `window`.

They hold numbers, labels and names of llms; nothing of a ticket's text and nobody's name.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from models.bulk import insert_rows
from models.rollups import ReportCounts, ReportPairs
from service.experiments.rollups.count import Key
from service.experiments.rollups.counts import Counts, add, at, leaves, merged

Span = Literal["hour", "day"]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TICKETS = ""
"""The field of what counts the tickets themselves; only of hours whose rows may be deleted."""

_WITHIN = "span = :span AND start >= :since AND start < :until"
_DELETE = [text(f"DELETE FROM {table} WHERE {_WITHIN}") for table in ("report_counts", "report_pairs")]
_PAIR = ("both_right", "only_a", "only_b", "neither", "answered")
_OF = """AND (CAST(:experiment AS text) IS NULL OR experiment = :experiment)
         AND (CAST(:field AS text) IS NULL OR field IN (:field, ''))"""
_READ = text(f"SELECT start, experiment, field, document::text FROM report_counts WHERE {_WITHIN} {_OF}")
_READ_PAIRS = text(f"""
    SELECT start, experiment, field, source, llm_a, llm_b, {", ".join(_PAIR)}
    FROM report_pairs WHERE {_WITHIN} {_OF}""")


def of_hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)


def of_day(time: datetime) -> datetime:
    return of_hour(time).replace(hour=0)


def replace(session: Session, span: Span, since: datetime, until: datetime, counted: Mapping[Key, Counts]) -> None:
    """Keeps these counts in place of all of the same span that begin from `since` to before `until`."""
    for statement in _DELETE:
        session.execute(statement, {"span": span, "since": since, "until": until})
    write(session, span, counted)


def write(session: Session, span: Span, counted: Mapping[Key, Counts]) -> None:
    """Adds these counts, of which none is there yet."""
    rows, pairs = [], []
    for (start, experiment, field), counts in counted.items():
        about = {"span": span, "start": start, "experiment": experiment, "field": field}
        document = {name: part for name, part in counts.items() if name != "pairs"}
        rows.append(about | {"document": document})
        for source, llm_a, llm_b, cells in leaves(counts.get("pairs", {}), 3):
            known = {name: cells.get(name, 0) for name in _PAIR}
            pairs.append(about | {"source": source, "llm_a": int(llm_a), "llm_b": int(llm_b)} | known)
    insert_rows(session, ReportCounts, rows)
    insert_rows(session, ReportPairs, pairs)


def read(
    session: Session,
    span: Span,
    since: datetime,
    until: datetime,
    experiment: str | None = None,
    field: str | None = None,
) -> dict[Key, Counts]:
    """What is kept of spans that begin in this time: of one experiment, and of one field with its tickets, or all."""
    given = {"span": span, "since": since, "until": until, "experiment": experiment, "field": field}
    found: defaultdict[Key, Counts] = defaultdict(dict)
    for start, name, of, document in session.execute(_READ, given):
        found[start, name, of] = orjson.loads(document)
    for start, name, of, source, llm_a, llm_b, *cells in session.execute(_READ_PAIRS, given):
        known = {cell: n for cell, n in zip(_PAIR, cells, strict=True) if n}
        add(found[start, name, of], at(("pairs", source, str(llm_a), str(llm_b)), known))
    return dict(found)


def by_day(hours: Mapping[Key, Counts], day: datetime) -> dict[Key, Counts]:
    """The hours of one day as one."""
    parts: defaultdict[Key, list[Counts]] = defaultdict(list)
    for (_, experiment, field), counts in hours.items():
        parts[day, experiment, field].append(counts)
    return {key: merged(found) for key, found in parts.items()}
