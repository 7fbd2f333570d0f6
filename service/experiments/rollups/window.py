"""The counts of any window: whole days and hours as they are kept, what it cuts from an hour straight from the rows.

Called by the report.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from service.experiments.rollups import keep
from service.experiments.rollups.count import Key, count
from service.experiments.rollups.counts import Counts, add
from service.experiments.rollups.keep import DAY, HOUR, Span, of_day, of_hour
from service.experiments.rollups.roll import FIRST, LAST

FROZEN = text("SELECT max(before) FROM frozen_hours")


@dataclass(frozen=True, slots=True)
class Cut:
    """A window, `since` to before `until`, cut at full hours: those from `first` to before `end` are whole."""

    since: datetime
    until: datetime
    first: datetime
    end: datetime

    @classmethod
    def of(cls, since: datetime | None, until: datetime | None) -> "Cut":
        begins, ends = _utc(since, FIRST), _utc(until, LAST)
        first = begins if begins == of_hour(begins) else of_hour(begins) + HOUR
        return cls(begins, ends, first, max(first, of_hour(ends)))

    def spans(self) -> Iterator[tuple[Span, datetime, datetime]]:
        """What of it is kept by the day, and the hours before and after."""
        day = of_day(self.first) if self.first == of_day(self.first) else of_day(self.first) + DAY
        last = max(day, of_day(self.end))
        if last == day:
            yield "hour", self.first, self.end
            return
        yield "hour", self.first, day
        yield "day", day, last
        yield "hour", last, self.end

    def pieces(self) -> Iterator[tuple[datetime, datetime]]:
        """What of it is no whole hour."""
        edges = [(self.since, min(self.first, self.until)), (max(self.end, self.since), self.until)]
        yield from (edge for edge in dict.fromkeys(edges) if edge[0] < edge[1])


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts of a window by experiment: of the field asked for, and of the tickets whose rows may be deleted."""

    field: dict[str, Counts]
    tickets: dict[str, Counts]
    frozen: datetime | None


def read(session: Session, cut: Cut, experiment: str | None, field: str) -> Counted:
    """Of one experiment, or of all and none."""
    found = Counted({}, {}, session.scalar(FROZEN))
    for span, since, until in cut.spans():
        _collect(found, keep.read(session, span, since, until, experiment, field), experiment, field)
    for since, until in cut.pieces():
        # Of an hour whose rows may be deleted there is no part.
        if found.frozen is None or since >= found.frozen:
            _collect(found, count(session, since, until), experiment, field)
    return found


def _collect(found: Counted, counted: dict[Key, Counts], experiment: str | None, field: str) -> None:
    for (_, name, of), counts in counted.items():
        if experiment in (None, name) and of in (field, keep.TICKETS):
            add((found.field if of == field else found.tickets).setdefault(name, {}), counts)


def _utc(time: datetime | None, otherwise: datetime) -> datetime:
    """In UTC; what lies there before the first year or in the last is as if it were open."""
    try:
        return otherwise if time is None else min(time.astimezone(UTC), LAST)
    except OverflowError:
        return otherwise
