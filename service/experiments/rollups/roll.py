"""Counting anew the hours whose rows have changed: the newest first, each in one transaction.

Called by a report before it reads, by `roller` in every API process, and by retention before it deletes. Counts are
never incremented: a mark is deleted and its hour counted, or neither. What is written meanwhile leaves its own mark.
"""

import math
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby

import structlog
from psycopg.errors import LockNotAvailable, QueryCanceled
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from models.db import allow, transaction
from models.errors import Unavailable
from service.experiments.rollups import keep
from service.experiments.rollups.count import count
from service.experiments.rollups.keep import DAY, HOUR, of_day

log = structlog.get_logger()
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
ROLLING = 0x7472_6961_6765_0001  # one at a time, so that no two count the same hour
MANY = 24  # hours; of more than that the hours of a day go together, as after an upgrade
TOO_LONG = (TimeoutError, LockNotAvailable, QueryCanceled)
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

# For who asks often: only so many marks are looked at, and the first of them all.
LAG = text(f"""
    SELECT (SELECT count(*) FROM (SELECT DISTINCT hour FROM (
                SELECT hour FROM stale_hours WHERE {_LIVE} LIMIT :most) AS marks) AS hours) AS behind_hours,
           greatest(0, coalesce(extract(epoch FROM clock_timestamp() - (
                SELECT at FROM stale_hours WHERE {_LIVE} ORDER BY id LIMIT 1)), 0))::float8 AS behind_s""")
MARKS = 10_000


def roll(
    engine: Engine, budget_s: float, since: datetime = FIRST, until: datetime = LAST, *, longest_s: float = 0.0
) -> bool:
    """Counts the hours that are stale now, as many as the budget allows; whether these were all. Others stay marked.

    One hour may have more tickets than the budget is for: it is given half of what is left, or `longest_s` if that is
    longer, and when that was too little the others are counted all the same.
    """
    ends = time.monotonic() + budget_s
    done = True
    for hours in _stale(engine, since, until):
        now = time.monotonic()
        if now > ends:
            return False
        try:
            _roll(engine, hours, now + max((ends - now) / 2, longest_s))
        except (TimeoutError, Unavailable) as error:
            log.info("report.behind", hour=hours[0].isoformat(), hours=len(hours), error=type(_of(error)).__name__)
            if not isinstance(_of(error), TOO_LONG):
                return False
            done = False
    return done


def _of(error: BaseException) -> BaseException:
    """Postgres's own error, where one is behind it."""
    return getattr(error.__cause__, "orig", None) or error


def one_at_a_time(session: Session) -> None:
    """Nobody counts until this transaction ends."""
    session.execute(LOCK, {"key": ROLLING})


def _roll(engine: Engine, hours: list[datetime], ends: float) -> None:
    with transaction(engine) as session:
        _allow(session, ends)
        one_at_a_time(session)
        recount(session, min(hours), max(hours) + HOUR, ends)


def recount(session: Session, since: datetime, until: datetime, ends: float = math.inf) -> None:
    """Counts what is marked of a part of a day; who calls holds the lock. What nobody marked any more is left alone."""
    marked = {hour for (hour,) in session.execute(UNMARK, {"since": since, "until": until})}
    for first, end in stretches(marked):
        _allow(session, ends)
        keep.replace(session, "hour", first, end, count(session, first, end))
    if marked:
        _allow(session, ends)
        recount_day(session, of_day(since))


def recount_day(session: Session, day: datetime) -> None:
    """A day is the sum of its hours."""
    keep.replace(session, "day", day, day + HOUR, keep.by_day(keep.read(session, "hour", day, day + DAY), day))


def behind(session: Session, since: datetime = FIRST, until: datetime = LAST) -> dict[str, float]:
    """How many hours have changed since they were counted, and how long ago the first change was."""
    return dict(session.execute(BEHIND, {"since": since, "until": until}).mappings().one())


def lag(session: Session) -> dict[str, float]:
    """The same of all hours, but of no more than MARKS changes: for /metrics, where it must be quick."""
    return dict(session.execute(LAG, {"most": MARKS}).mappings().one())


def stretches(hours: Iterable[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Hours that follow each other as one time, from its first hour to before the end of its last."""
    for _, run in groupby(enumerate(sorted(hours)), key=lambda one: one[1] - one[0] * HOUR):
        found = [hour for _, hour in run]
        yield found[0], found[-1] + HOUR


def _stale(engine: Engine, since: datetime, until: datetime) -> list[list[datetime]]:
    """What to count in one transaction each: hours, or the hours of a day where there are many."""
    with transaction(engine) as session:
        hours = session.scalars(STALE, {"since": since, "until": until}).all()
    if len(hours) <= MANY:
        return [[hour] for hour in hours]
    return [list(found) for _, found in groupby(hours, key=of_day)]


def _allow(session: Session, ends: float) -> None:
    if ends < math.inf:
        if (left := ends - time.monotonic()) <= 0:
            raise TimeoutError
        allow(session, left)
