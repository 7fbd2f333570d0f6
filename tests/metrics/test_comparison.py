"""The figures of a report from rows and counts, and the words they allow."""

import random
from dataclasses import asdict

import pytest

from service.experiments.stats import Spread, Word, pair, pair_of_counts, pairs_needed, rounded, spread, verdict


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
    assert result.verdict.word is Word.NOT_ENOUGH


@pytest.mark.parametrize(
    ("only_a", "only_b", "n", "word"),
    [
        (0, 0, 0, Word.NOT_ENOUGH),
        (5, 0, 100, Word.NOT_ENOUGH),
        (6, 0, 6, Word.A_BETTER),
        (0, 6, 6, Word.B_BETTER),
        (5, 1, 1000, Word.NO_EVIDENCE),
        (5, 1, 100, Word.NOT_ENOUGH),
        (0, 0, 300, Word.NO_EVIDENCE),
        (30, 30, 500, Word.NOT_ENOUGH),
        (60, 60, 1100, Word.NO_EVIDENCE),
        (5, 16, 100, Word.B_BETTER),
        (6, 16, 100, Word.NOT_ENOUGH),
        (6, 16, 1100, Word.NO_EVIDENCE),
    ],
)
def test_the_word_follows_the_rule(only_a: int, only_b: int, n: int, word: Word) -> None:
    found = verdict(only_a, only_b, n)
    assert found.word is word
    assert (found.more is not None) == (word is Word.NOT_ENOUGH)


@pytest.mark.parametrize(
    ("discordant", "n", "needed"),
    [
        (0, 0, 1044),  # two peers differ on 12 %: the worked example of a gap of 3 points
        (120, 1000, 1044),
        (0, 1000, 259),  # never below the 3 % without which there could be no such gap
        (30, 60, 3530),
    ],
)
def test_how_many_pairs_a_difference_takes(discordant: int, n: int, needed: int) -> None:
    assert pairs_needed(discordant, n) == needed


def test_so_many_pairs_show_the_difference_in_four_of_five_cases() -> None:
    draw, found = random.Random(3), 0
    cells = {"a": 0.075, "b": 0.045, "same": 0.88}
    for _ in range(400):
        table = draw.choices(list(cells), list(cells.values()), k=pairs_needed(120, 1000))
        found += verdict(table.count("a"), table.count("b"), len(table)).word is Word.A_BETTER
    assert 0.73 <= found / 400 <= 0.87


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0.2, 1), (7, 7), (94, 94), (95.4, 95), (99.7, 100), (1044, 1000), (1051, 1100), (12_345, 12_000)],
)
def test_an_estimate_has_two_digits(count: float, shown: int) -> None:
    assert rounded(count) == shown


def test_the_reason_gives_its_numbers() -> None:
    few = verdict(1, 0, 1)
    assert few.reason == (
        "Of 1 judged ticket, only A was right on 1 and only B on 0. "
        "It takes about 1,400 to see a difference of 3 points in 4 of 5 cases."
    )
    assert (few.more, few.sentence) == (1400, "not enough verdicts: about 1,400 more")
    assert verdict(0, 0, 0).sentence == "not enough verdicts: about 1,000 more"
    nothing = verdict(60, 60, 1100)
    assert nothing.sentence == "no evidence"
    assert nothing.reason == (
        "Of 1,100 judged tickets, only A was right on 60 and only B on 60 (p = 1.0000): chance alone explains that, "
        "and a difference of 3 points would have been seen in 4 of 5 cases."
    )
    better = verdict(300, 20, 400)
    assert "p < 0.0001" in better.reason
    assert (better.sentence, better.more) == ("A better", None)
    assert "p < 0.05" in better.rule


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
    assert figures.pop("verdict") == asdict(verdict(0, 0, 0))
    assert (figures.pop("accuracy_a"), figures.pop("accuracy_b")) == (nothing, nothing)
    assert figures == {
        **dict.fromkeys(("n", "both", "only_a", "only_b", "neither"), 0),
        **dict.fromkeys(("difference", "difference_interval", "p_value")),
    }


def test_a_spread_leaves_out_what_an_engine_did_not_report() -> None:
    assert spread([10.0, None, 20.0, 40.0, 30.0, 50.0]) == Spread(5, 30.0, 30.0, 48.0)
    assert spread([None]) == spread([]) == Spread(0, None, None, None)
