"""Counting anew the hours whose rows have changed: the newest first, the hours of a day in one transaction.

Called by a report before it reads, by `roller` in every API process, and by retention before it deletes. Counts are
never incremented: a mark is deleted and its hour counted, or neither. What is written meanwhile leaves its own mark.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from models.db import allow, transaction
from models.errors import Unavailable
from service.experiments.rollups import keep
from service.experiments.rollups.count import count
from service.experiments.rollups.keep import DAY, HOUR

log = structlog.get_logger()
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
ROLLING = 0x7472_6961_6765_0001  # one at a time, so that no two count the same hour
LOCK = text("SELECT pg_advisory_xact_lock(:key)")

_LIVE = "hour >= coalesce((SELECT max(before) FROM frozen_hours), '-infinity')"
STALE = text(f"""
    SELECT DISTINCT hour FROM stale_hours WHERE hour >= :since AND hour < :until AND {_LIVE}
    ORDER BY hour DESC""")
# The count's snapshot is younger than this one: who commits in between leaves a mark that this does not see. What was
# frozen while we waited for the lock has no rows any more to be counted from.
UNMARK = text(f"DELETE FROM stale_hours WHERE hour >= :since AND hour < :until AND {_LIVE} RETURNING hour")
DROP_FROZEN = text(f"DELETE FROM stale_hours WHERE NOT {_LIVE}")
BEHIND = text(f"""
    SELECT count(DISTINCT hour) AS behind_hours,
           greatest(0, coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0))::float8 AS behind_s
    FROM stale_hours WHERE hour >= :since AND hour < :until AND {_LIVE}""")


def roll(
    engine: Engine, budget_s: float, since: datetime = FIRST, until: datetime = LAST, *, longest_s: float = 0.0
) -> bool:
    """Counts the hours that are stale now, as many as the budget allows; whether these were all. Others stay marked.

    A day that is begun may take `longest_s`, if that is longer: one hour can have more tickets than a budget is for.
    """
    ends = time.monotonic() + budget_s
    try:
        for day, hours in _stale(engine, since, until):
            if time.monotonic() > ends:
                raise TimeoutError
            _roll(engine, day, hours, max(ends, time.monotonic() + longest_s))
    except (TimeoutError, Unavailable) as error:
        log.info("report.behind", error=type(error.__cause__ or error).__name__)
        return False
    return True


def _roll(engine: Engine, day: datetime, hours: list[datetime], ends: float) -> None:
    with transaction(engine) as session:
        _allow(session, ends)
        session.execute(LOCK, {"key": ROLLING})
        _allow(session, ends)
        recount(session, day, min(hours), max(hours) + HOUR)


def recount(session: Session, day: datetime, since: datetime, until: datetime) -> None:
    """Counts what is marked of a day; who calls holds the lock. Hours that nobody marked any more are left alone."""
    marked = {hour for (hour,) in session.execute(UNMARK, {"since": since, "until": until})}
    for first, end in stretches(marked):
        keep.replace(session, "hour", first, end, count(session, first, end))
    if marked:
        recount_day(session, day)


def recount_day(session: Session, day: datetime) -> None:
    """A day is the sum of its hours."""
    keep.replace(session, "day", day, day + HOUR, keep.by_day(keep.read(session, "hour", day, day + DAY), day))


def behind(session: Session, since: datetime = FIRST, until: datetime = LAST) -> dict[str, float]:
    """How many hours have changed since they were counted, and how long ago the first change was."""
    return dict(session.execute(BEHIND, {"since": since, "until": until}).mappings().one())


def stretches(hours: Iterable[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Hours that follow each other as one time, from its first hour to before the end of its last."""
    for _, run in groupby(enumerate(sorted(hours)), key=lambda one: one[1] - one[0] * HOUR):
        found = [hour for _, hour in run]
        yield found[0], found[-1] + HOUR


def _stale(engine: Engine, since: datetime, until: datetime) -> list[tuple[datetime, list[datetime]]]:
    with transaction(engine) as session:
        hours = session.scalars(STALE, {"since": since, "until": until}).all()
    return [(day, list(found)) for day, found in groupby(hours, key=of_day)]


def of_day(hour: datetime) -> datetime:
    return hour.replace(hour=0, minute=0, second=0, microsecond=0)


def _allow(session: Session, ends: float) -> None:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    allow(session, left)
