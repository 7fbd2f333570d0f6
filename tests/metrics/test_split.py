"""What a split may conclude: which arm is better, how many verdicts are missing, or that the halves are not even."""

import pytest
from scipy.stats import binomtest

from models.clusters import Sums
from service.experiments.split import NOBODY, Balance, balance, compare, verdict
from service.experiments.stats import Word

EVEN = balance(500, 500)


def arm(right: int, n: int, each: int = 1) -> Sums:
    """n requesters with `each` tickets, all right or all wrong."""
    return Sums(n, n * each, right * each, n * each**2, right * each**2, right * each**2)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (10, 0), (500, 500), (450, 550), (400, 500), (17, 3)])
def test_the_balance_is_scipys_binomial_test(a: int, b: int) -> None:
    expected = binomtest(a, a + b).pvalue if a + b else 1.0
    assert balance(a, b) == Balance(a, b, pytest.approx(expected), expected < 0.001)


@pytest.mark.parametrize(
    ("a", "b", "word"),
    [
        ((0, 0), (0, 0), Word.NOT_ENOUGH),
        ((1, 1), (0, 0), Word.NOT_ENOUGH),
        ((1, 1), (0, 1), Word.NOT_ENOUGH),
        ((29, 29), (0, 29), Word.NOT_ENOUGH),
        ((30, 30), (10, 30), Word.A_BETTER),
        ((10, 30), (30, 30), Word.B_BETTER),
        ((27, 30), (26, 30), Word.NOT_ENOUGH),
        ((1800, 2000), (1790, 2000), Word.NO_EVIDENCE),
        ((1800, 2000), (1700, 2000), Word.A_BETTER),
        ((1800, 2000), (180, 200), Word.NOT_ENOUGH),
    ],
)
def test_the_word_follows_the_rule(a: tuple[int, int], b: tuple[int, int], word: Word) -> None:
    found = verdict(arm(*a), arm(*b), EVEN)
    assert found.word is word
    assert (found.more is not None) == (word is Word.NOT_ENOUGH)


def test_how_many_more_it_takes() -> None:
    nothing = verdict(NOBODY, NOBODY, EVEN)
    # 2 * .9 * .1 * (1.96 + .84)^2 / .03^2 = 1,570 in each arm.
    assert nothing.sentence == "not enough verdicts: about 3,100 more"
    assert verdict(arm(900, 1000), arm(890, 1000), EVEN).more == 1300
    # Ten copies of each ticket: as many requesters, ten times the tickets.
    assert verdict(arm(900, 1000, 10), arm(890, 1000, 10), EVEN).more == 13_000
    assert "A was right on 0 of 0 judged tickets, B on 0 of 0." in nothing.reason


def test_uneven_halves_call_nobody_better() -> None:
    uneven = balance(600, 400)
    assert uneven.suspicious
    found = compare(arm(900, 1000), arm(500, 1000), uneven)
    assert found.verdict.word is Word.NO_EVIDENCE
    assert found.verdict.reason.startswith("The halves are not even: 600 requesters in A, 400 in B (p < 0.0001).")
    assert found.difference == pytest.approx(0.4)


def test_few_requesters_decide_nothing_however_many_tickets_they_sent() -> None:
    """Of 20 requesters' 200 tickets each, all are alike: no design effect hides that they are 20."""
    a, b = (Sums(20, 4000, 20 * s, 20 * 200**2, 20 * 200 * s, 20 * s**2) for s in (186, 178))
    found = verdict(a, b, EVEN)
    assert (found.word, found.more) == (Word.NOT_ENOUGH, 20)
    assert found.reason.endswith("At least 30 judged requesters are needed in each arm; A has 20, B 20.")
