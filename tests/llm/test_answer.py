"""Answers: literal numbers, and what is missing or garbage."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import EngineError
from models.llm.answer import answer

CODES = {"refunds": "A", "transfers": "B", "other": "C"}
LOGPROBS = {"A": math.log(0.6), "B": math.log(0.2), "C": math.log(0.1)}


def test_without_a_temperature_scores_are_the_raw_shares() -> None:
    said = answer(LOGPROBS, CODES, None)
    assert (said.label, said.complete, said.calibrated) == ("refunds", True, False)
    assert said.scores == pytest.approx({"refunds": 2 / 3, "transfers": 2 / 9, "other": 1 / 9})
    assert said.confidence == said.raw_confidence == pytest.approx(2 / 3)
    assert said.label_mass == pytest.approx(0.9)
    assert said.margin == pytest.approx(4 / 9)
    assert said.entropy == pytest.approx(0.848686)


def test_a_temperature_of_two_takes_square_roots() -> None:
    said = answer(LOGPROBS, CODES, 2.0)
    total = 0.6**0.5 + 0.2**0.5 + 0.1**0.5
    assert said.scores == pytest.approx(
        {"refunds": 0.6**0.5 / total, "transfers": 0.2**0.5 / total, "other": 0.1**0.5 / total}
    )
    assert said.raw_confidence == pytest.approx(2 / 3)
    assert said.label_mass == pytest.approx(0.9)
    assert said.calibrated


@pytest.mark.parametrize("garbage", [math.nan, -3.4028e38, -math.inf, math.inf, 0.5])
def test_garbage_is_missing(garbage: float) -> None:
    said = answer({**LOGPROBS, "B": garbage}, CODES, None)
    assert not said.complete
    assert said.scores == pytest.approx({"refunds": 6 / 7, "other": 1 / 7})
    assert said.label_mass == pytest.approx(0.7)


def test_one_label_alone_is_sure_and_incomplete() -> None:
    said = answer({"C": -5.0}, CODES, 1.3)
    assert (said.label, said.confidence, said.margin, said.entropy, said.complete) == ("other", 1.0, 1.0, 0.0, False)


@pytest.mark.parametrize("nothing", [{}, {"A": math.nan}, {"Z": -1.0}])
def test_nothing_left_is_an_error(nothing: dict[str, float]) -> None:
    with pytest.raises(EngineError, match="no log-probability"):
        answer(nothing, CODES, None)


@given(st.lists(st.floats(-200, 0), min_size=3, max_size=3), st.floats(0.05, 20))
def test_temperature_keeps_the_label_and_scores_sum_to_one(values: list[float], temperature: float) -> None:
    logprobs = dict(zip("ABC", values, strict=True))
    said = answer(logprobs, CODES, temperature)
    assert math.fsum(said.scores.values()) == pytest.approx(1)
    assert logprobs[CODES[said.label]] == pytest.approx(max(values))
    assert 0 <= said.entropy <= math.log(3) + 1e-9
    assert 0 <= said.margin <= said.confidence <= 1
