"""Figures against published numbers, scipy and seeded simulation."""

import math
import random
import subprocess
import sys

import pytest
from scipy.stats import binomtest

from models.metrics import Proportion, brier, ece, mcnemar, mean, paired_difference, proportion, quantile


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (27, 30, 0.7438, 0.9654),
        (90, 100, 0.8256, 0.9448),
        (900, 1000, 0.8798, 0.9171),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_bounds_are_the_known_ones(successes: int, n: int, low: float, high: float) -> None:
    share = proportion(successes, n)
    assert share.low == pytest.approx(low, abs=5e-5)
    assert share.high == pytest.approx(high, abs=5e-5)


def test_wilson_agrees_with_scipy_for_every_small_table() -> None:
    for n in range(1, 41):
        for successes in range(n + 1):
            ours, theirs = proportion(successes, n), binomtest(successes, n).proportion_ci(method="wilson")
            assert ours.low == pytest.approx(theirs.low, abs=1e-12)
            assert ours.high == pytest.approx(theirs.high, abs=1e-12)


def test_a_proportion_of_nothing_claims_nothing() -> None:
    assert proportion(0, 0) == Proportion(0, 0, None, None, None)


def test_wilson_covers_the_truth_about_95_times_in_100() -> None:
    draw = random.Random(7)
    for truth, n in [(0.5, 40), (0.88, 1000), (0.97, 300)]:
        hits = 0
        for _ in range(1500):
            share = proportion(sum(draw.random() < truth for _ in range(n)), n)
            hits += share.low is not None and share.high is not None and share.low <= truth <= share.high
        assert 0.93 <= hits / 1500 <= 0.98


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (0, 2, 0.5), (0, 5, 0.0625), (0, 6, 0.03125), (6, 16, 0.05248)],
)
def test_mcnemar_literals(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p, abs=5e-6)


def test_mcnemar_agrees_with_scipy_for_every_small_table() -> None:
    for only_a in range(45):
        for only_b in range(max(1, only_a), 45):
            theirs = binomtest(only_a, only_a + only_b).pvalue
            assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("only_a", [500_000, 499_000, 498_000, 490_000])
def test_mcnemar_of_a_million_pairs(only_a: int) -> None:
    theirs = binomtest(only_a, 1_000_000).pvalue
    assert mcnemar(only_a, 1_000_000 - only_a) == pytest.approx(theirs, rel=1e-7)
    assert mcnemar(0, 1_000_000) == 0.0


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Cavo 2012 and Bentur 2009 as worked in Fagerland, Lydersen, Laake: Statistical Analysis of Contingency Tables.
        ((59, 6, 16, 80), -0.1186, -0.0046),
        ((1, 1, 7, 12), -0.5069, -0.0256),
    ],
)
def test_paired_difference_is_newcombes(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    interval = paired_difference(*counts)
    assert interval is not None
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_paired_difference_covers_the_truth() -> None:
    draw = random.Random(11)
    cells = [0.80, 0.08, 0.05, 0.07]
    for n in (60, 400):
        hits = 0
        for _ in range(1500):
            table = draw.choices(range(4), cells, k=n)
            interval = paired_difference(*(table.count(cell) for cell in range(4)))
            hits += interval is not None and interval.low <= 0.03 <= interval.high
        assert 0.93 <= hits / 1500 <= 0.985


@pytest.mark.parametrize("counts", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0)])
def test_one_or_two_pairs_give_a_wide_interval_around_the_difference(counts: tuple[int, int, int, int]) -> None:
    interval = paired_difference(*counts)
    assert interval is not None
    assert -1 <= interval.low <= (counts[1] - counts[2]) / sum(counts) <= interval.high <= 1
    assert interval.high - interval.low > 0.7


def test_of_nothing_every_figure_is_none() -> None:
    assert [mean([]), quantile([], 0.5), brier([], []), ece([], []), paired_difference(0, 0, 0, 0)] == [None] * 5


def test_quantile_is_type_7() -> None:
    assert quantile([4, 1, 3, 2], 0.5) == 2.5
    assert quantile([10, 20, 30, 40, 50], 0.95) == pytest.approx(48)
    assert [quantile([7], q) for q in (0, 0.5, 0.95, 1)] == [7, 7, 7, 7]
    assert quantile([1, 3], 1) == 3


def test_brier_of_known_answers() -> None:
    assert brier([0.9, 0.6], [True, False]) == pytest.approx((0.01 + 0.36) / 2)


def test_ece_by_hand() -> None:
    result = ece([0.6, 0.6, 0.9, 0.9], [True, False, True, True], bins=2)
    assert result is not None
    # Two bins of two: |1.2 - 1| + |1.8 - 2|, over four rows.
    assert result.value == pytest.approx(0.1)


def test_a_calibrated_llm_has_an_ece_within_its_null_distribution() -> None:
    draw = random.Random(3)
    above = 0
    for seed in range(40):
        confidences = [draw.uniform(0.4, 1) for _ in range(400)]
        result = ece(confidences, [draw.random() < p for p in confidences], rounds=100, seed=seed)
        assert result is not None
        assert 0.02 < result.null_mean < result.null_p95 < 0.1
        above += result.value > result.null_p95
    assert above <= 7  # 2 of 40 expected; 8 or more has probability below .001


def test_an_overconfident_llm_has_an_ece_far_above_it() -> None:
    draw = random.Random(4)
    confidences = [draw.uniform(0.7, 1) for _ in range(500)]
    result = ece(confidences, [draw.random() < p - 0.15 for p in confidences])
    assert result is not None
    assert result.value > result.null_p95
    assert result.debiased == pytest.approx(result.value - result.null_mean)
    assert 0.08 < result.debiased < 0.18


def test_ece_does_not_depend_on_the_order_of_tied_rows() -> None:
    rows = [(0.8, True)] * 80 + [(0.8, False)] * 20
    first = ece(*zip(*rows, strict=True))
    random.Random(1).shuffle(rows)
    assert ece(*zip(*rows, strict=True)) == first
    assert first is not None
    assert first.value == pytest.approx(0)


def test_ece_is_reproducible_and_total_for_one_and_two_rows() -> None:
    for confidences, correct in [([0.9], [True]), ([0.9, 0.5], [True, False]), ([1.0], [True]), ([0.0], [False])]:
        result = ece(confidences, correct)
        assert result == ece(confidences, correct)
        assert result is not None
        assert all(math.isfinite(x) for x in (result.value, result.null_mean, result.null_p95, result.debiased))


def test_rows_that_do_not_match_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        ece([0.5, 0.6], [True])


def test_the_report_does_not_load_scipy() -> None:
    code = "import sys, service.experiments.stats; sys.exit(bool({'scipy', 'numpy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
