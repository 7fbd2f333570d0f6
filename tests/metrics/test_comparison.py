"""The figures of a report from rows and counts, and the words they allow."""

from dataclasses import asdict

import pytest

from service.experiments.stats import Spread, Word, pair, pair_of_counts, spread, verdict


def test_a_pair_counts_the_four_cells() -> None:
    rows = [(True, True)] * 59 + [(True, False)] * 6 + [(False, True)] * 16 + [(False, False)] * 80
    result = pair(iter(rows))
    assert result == pair_of_counts(59, 6, 16, 80)
    assert (result.n, result.both, result.only_a, result.only_b, result.neither) == (161, 59, 6, 16, 80)
    assert (result.accuracy_a.successes, result.accuracy_b.successes) == (65, 75)
    assert result.difference == pytest.approx(-10 / 161)
    assert result.p_value == pytest.approx(0.0525, abs=5e-5)


def test_the_test_decides_where_the_interval_just_misses_zero() -> None:
    result = pair_of_counts(59, 6, 16, 80)
    assert result.difference_interval is not None
    assert result.difference_interval.high < 0
    assert result.verdict.word == "no evidence"


@pytest.mark.parametrize(
    ("only_a", "only_b", "word"),
    [
        (0, 0, Word.NOT_ENOUGH),
        (1, 0, Word.NOT_ENOUGH),
        (5, 0, Word.NOT_ENOUGH),
        (6, 0, Word.A_BETTER),
        (0, 6, Word.B_BETTER),
        (5, 1, Word.NO_EVIDENCE),
        (30, 30, Word.NO_EVIDENCE),
        (5, 16, Word.B_BETTER),
        (6, 16, Word.NO_EVIDENCE),
    ],
)
def test_the_word_follows_the_rule(only_a: int, only_b: int, word: Word) -> None:
    assert verdict(only_a, only_b).word is word


def test_the_reason_gives_its_numbers() -> None:
    assert verdict(1, 0).reason == "Only 1 ticket tells A from B; at least 6 are needed."
    assert verdict(0, 0).reason == "Only 0 tickets tell A from B; at least 6 are needed."
    assert verdict(6, 16).reason == (
        "Only A was right on 6, only B on 16 tickets (p = 0.0525): chance alone explains that."
    )
    assert "p < 0.0001" in verdict(300, 20).reason
    assert "p < 0.05" in verdict(9, 9).rule


@pytest.mark.parametrize(
    "rows", [[], [(True, True)], [(False, False)], [(True, False)], [(True, False), (False, True)]]
)
def test_no_ticket_one_and_two_are_answered(rows: list[tuple[bool, bool]]) -> None:
    result = pair(rows)
    assert result.n == len(rows)
    assert result.verdict.word is Word.NOT_ENOUGH
    assert (result.difference is None) == (not rows)
    assert (result.p_value is None) == (not result.only_a + result.only_b)


def test_a_pair_becomes_plain_values() -> None:
    nothing = {"successes": 0, "n": 0, "value": None, "low": None, "high": None}
    figures = asdict(pair([]))
    assert figures.pop("verdict") == asdict(verdict(0, 0))
    assert (figures.pop("accuracy_a"), figures.pop("accuracy_b")) == (nothing, nothing)
    assert figures == {
        **dict.fromkeys(("n", "both", "only_a", "only_b", "neither"), 0),
        **dict.fromkeys(("difference", "difference_interval", "p_value")),
    }


def test_a_spread_leaves_out_what_an_engine_did_not_report() -> None:
    assert spread([10.0, None, 20.0, 40.0, 30.0, 50.0]) == Spread(5, 30.0, 30.0, 48.0)
    assert spread([None]) == spread([]) == Spread(0, None, None, None)
