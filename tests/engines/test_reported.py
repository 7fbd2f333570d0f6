"""What a server may report besides its scores, and what of it is taken."""

import math
from dataclasses import fields
from typing import Any

import pytest

from workers.engines.base import MOST, Timings
from workers.engines.reported import count, milliseconds, name

HUGE = 10**400


@pytest.mark.parametrize(
    ("said", "taken"),
    [(0, 0), (MOST, MOST), (MOST + 1, None), (HUGE, None), (-1, None), (True, None), (7.0, None), ("7", None)],
    ids=range(8),
)
def test_counts(said: object, taken: int | None) -> None:
    found = count(said)
    assert (found, type(found)) == (taken, type(taken))


@pytest.mark.parametrize(
    "said", [HUGE, -1, math.nan, math.inf, -math.inf, True, "7", None, 86_400_001, 1e300], ids=range(10)
)
def test_what_is_no_time(said: object) -> None:
    assert milliseconds(said) is None


def test_times() -> None:
    assert (milliseconds(0), milliseconds(2.5), milliseconds(86_400_000)) == (0.0, 2.5, 86_400_000.0)
    assert (milliseconds(3_000_000, 1e6), milliseconds(HUGE, 1e6), milliseconds(10**15, 1e6)) == (3.0, None, None)


def test_names() -> None:
    assert name("a\0b\udfffc" + "d" * 300) == "a\ufffdb\ufffdc" + "d" * 195
    assert name(None) == "None"


def test_a_sum_is_no_more_than_a_row_can_hold() -> None:
    most: dict[str, Any] = {one.name: MOST for one in fields(Timings)}
    assert Timings(**most) + Timings(**most) == Timings(**most)
