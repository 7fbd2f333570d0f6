"""Counts of what is about to be deleted stay as they are, and are never computed again. Called by retention.

An hour is frozen with all its tickets; one that is still on its way then counts as it stood.
"""

from collections import defaultdict
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from service.experiments.rollups import keep
from service.experiments.rollups.count import Key
from service.experiments.rollups.counts import Counts, add
from service.experiments.rollups.keep import HOUR, of_day, of_hour
from service.experiments.rollups.roll import DROP_FROZEN, FIRST, STALE, recount, recount_day
from service.experiments.rollups.window import FROZEN

STATUSES = text("""
    SELECT date_trunc('hour', received_at, 'UTC') AS hour, coalesce(experiment, '') AS experiment, status, count(*)
    FROM tickets WHERE received_at >= :since AND received_at < :until GROUP BY 1, 2, 3""")
FORGET = text("DELETE FROM frozen_hours")
FREEZE = text("INSERT INTO frozen_hours (before) VALUES (:before)")


def freeze(session: Session, newest: datetime) -> None:
    """Freezes the hour of this ticket and all before it, counted once more where they are marked."""
    since = session.scalar(FROZEN) or FIRST
    until = of_hour(newest) + HOUR
    if until <= since:
        return
    for hour in session.scalars(STALE, {"since": since, "until": until}).all():
        recount(session, hour, hour + HOUR)
    _count_tickets(session, since, until)
    session.execute(FORGET)
    session.execute(FREEZE, {"before": until})


def drop_marks(session: Session) -> None:
    """Forgets what has changed in frozen hours, by our own deleting or because a ticket was still on its way."""
    session.execute(DROP_FROZEN)


def _count_tickets(session: Session, since: datetime, until: datetime) -> None:
    hours: defaultdict[Key, Counts] = defaultdict(dict)
    for hour, experiment, status, n in session.execute(STATUSES, {"since": since, "until": until}):
        add(hours[hour, experiment, keep.TICKETS], {status: n})
    keep.write(session, "hour", hours)
    for day in {of_day(hour) for hour, _, _ in hours}:
        recount_day(session, day)
