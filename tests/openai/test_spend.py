"""A day's spending, where readings overlap and where the day ends in between."""

import threading
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from models.db import transaction
from workers.spend import Spend


class Days:
    """A session whose tables say this of the day."""

    def __init__(self, day: int, cost: float):
        self.row = SimpleNamespace(day=day, cost=cost)

    def execute(self, *_: Any) -> "Days":
        return self

    def one(self) -> SimpleNamespace:
        return self.row


def read(spend: Spend, day: int, cost: float) -> None:
    spend.read(cast("Session", Days(day, cost)))


def test_two_readings_at_once_take_off_what_was_recorded_once(database: Engine) -> None:
    """The second begins while the first one asks Postgres; it may do so only when the first is done."""
    spend = Spend("cloud", 0.045, ["none"])
    for cost in (0.05, 0.04):
        day = spend.add(cost)
    spend.recorded(0.04, day)
    others: list[threading.Thread] = []

    def second() -> None:
        with transaction(database) as session:
            spend.read(session)

    class Slow:
        def execute(self, *given: Any) -> Any:
            others.append(threading.Thread(target=second))
            others[0].start()
            others[0].join(timeout=0.2)
            with transaction(database) as session:
                return session.execute(*given)

    spend.read(cast("Session", Slow()))
    others[0].join()
    assert spend._settled == 0.0
    assert (spend.reached() or "").startswith("The engine cloud has spent its 0.045 of today")


def test_what_was_recorded_before_midnight_is_not_taken_off_the_next_day() -> None:
    spend = Spend("cloud", 0.05, ["a"])
    read(spend, 1, 0.0)
    spend.recorded(0.03, spend.add(0.03))
    read(spend, 2, 0.0)
    assert spend.reached() is None
    spend.add(0.03)
    read(spend, 2, 0.02)
    assert spend.reached() is not None


def test_a_call_over_midnight_is_not_taken_off_the_next_day() -> None:
    """It is recorded after midnight: then it stands in the new day's tables, and was never counted beside them."""
    spend = Spend("cloud", 0.05, ["a"])
    read(spend, 1, 0.0)
    day = spend.add(0.03)
    read(spend, 2, 0.0)
    spend.add(0.03)
    spend.recorded(0.03, day)
    read(spend, 2, 0.03)
    assert spend.reached() is not None
