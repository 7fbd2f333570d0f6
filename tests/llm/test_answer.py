"""Answers: literal numbers, and what is missing or garbage."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import EngineError
from models.llm.answer import answer, bounded

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
    """And so counts like the last one that is there, at the most."""
    said = answer({**LOGPROBS, "B": garbage}, CODES, None)
    assert not said.complete
    assert said.scores == pytest.approx({"refunds": 6 / 8, "transfers": 1 / 8, "other": 1 / 8})
    assert said.label_mass == pytest.approx(0.7)


def test_one_label_alone_is_said_and_is_not_sure() -> None:
    """The others may be as likely, but nothing says that they are."""
    said = answer({"C": -5.0}, CODES, 1.3)
    assert (said.label, said.margin, said.complete) == ("other", 0.0, False)
    assert said.confidence == pytest.approx(1 / 3)
    assert said.label_mass == pytest.approx(math.exp(-5))


def test_a_missing_code_has_what_the_engine_leaves_it() -> None:
    """Listed: 0.6, 0.2 and others' 0.1 and 0.04. Left is 0.06, for two codes; the last one listed had more."""
    listed = [math.log(p) for p in (0.6, 0.2, 0.1, 0.04)]
    bounds = bounded(listed, ["C", "D"])
    assert bounds == pytest.approx({"C": math.log(0.03), "D": math.log(0.03)})
    said = answer({"A": listed[0], "B": listed[1]}, CODES | {"loans": "D"}, None, bounds)
    assert said.scores == pytest.approx({"refunds": 60 / 86, "transfers": 20 / 86, "other": 3 / 86, "loans": 3 / 86})
    assert (said.label, said.complete) == ("refunds", False)
    assert said.label_mass == pytest.approx(0.8), "a bound is no evidence"


@pytest.mark.parametrize(
    ("listed", "missing", "bound"),
    [
        ([0.5, 0.02], 2, 0.02),  # the last one listed
        ([0.7, 0.29], 2, 0.005),  # an even share of the rest
        ([0.7, 0.3], 1, 1e-6),  # nothing is left, as far as float32 can tell
    ],
)
def test_a_bound_is_the_last_one_listed_or_a_share_of_the_rest(listed: list[float], missing: int, bound: float) -> None:
    codes = [str(number) for number in range(missing)]
    found = bounded(map(math.log, listed), codes)
    assert [math.exp(found[code]) for code in codes] == pytest.approx([bound] * missing)


def test_garbage_in_a_list_bounds_nothing() -> None:
    assert bounded([math.nan, 0.5], ["A"]) == {}
    assert bounded([math.nan, math.log(0.9)], ["A"]) == pytest.approx({"A": math.log(0.1)})
    assert answer({"A": 0.0}, CODES, 2.0, bounded([0.0, -3.4028e38], ["B", "C"])).confidence == 1.0


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


PRIOR = {"refunds": math.log(0.5), "transfers": math.log(0.1), "other": math.log(0.3)}


def test_a_prior_is_taken_off_before_the_temperature() -> None:
    """What the llm says more often than not of any ticket counts for less: .6/.5, .2/.1, .1/.3, normalised."""
    said = answer(LOGPROBS, CODES, None, prior=PRIOR)
    total = 1.2 + 2 + 1 / 3
    assert said.scores == pytest.approx({"refunds": 1.2 / total, "transfers": 2 / total, "other": 1 / 3 / total})
    assert (said.label, said.calibrated) == ("transfers", False)
    assert said.raw_confidence == pytest.approx(2 / 9)
    assert said.label_mass == pytest.approx(0.9)
    cold = answer(LOGPROBS, CODES, 0.5, prior=PRIOR)
    total = 1.2**2 + 4 + 1 / 9
    assert cold.scores == pytest.approx({"refunds": 1.2**2 / total, "transfers": 4 / total, "other": 1 / 9 / total})
    assert cold.calibrated


def test_a_label_that_was_not_listed_never_wins_by_its_prior() -> None:
    said = answer({"A": math.log(0.6), "B": math.log(0.2)}, CODES, None, prior={**PRIOR, "other": -20.0})
    assert said.label == "transfers"
    assert said.scores["other"] == pytest.approx(said.scores["refunds"])
    assert not said.complete
