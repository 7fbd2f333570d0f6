"""The certificate of a precision: its counts, its words, and its guarantee by simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from models.evaluation import selective


def falling(n):
    return np.linspace(1, 0.2, n)


def test_with_everything_right_all_rows_are_certified():
    found = selective.certify(falling(1_000), np.ones(1_000, bool), 0.95)
    assert (found.threshold, found.coverage, found.selective_accuracy) == (pytest.approx(0.2), 1.0, 1.0)
    assert (found.n, found.delta, found.needs) == (1_000, 0.1, None)


@pytest.mark.parametrize(("target", "least"), [(0.95, 90), (0.97, 152), (0.99, 459)])
def test_too_few_rows_are_named(target, least):
    found = selective.certify(falling(least - 1), np.ones(least - 1, bool), target)
    assert (found.threshold, found.coverage, found.needs) == (None, 0.0, least)
    assert found.sentence == f"not certifiable: needs about {least} rows"
    assert selective.certify(falling(least), np.ones(least, bool), target).threshold is not None


def test_it_stops_where_the_binomial_test_does_not_refuse():
    right = np.arange(1_000) < 600  # the surest 600 are right, the rest are wrong
    found = selective.certify(falling(1_000), right, 0.9)
    hits = int(right[: found.n].sum())
    assert 600 <= found.n < 700
    assert binomtest(hits, found.n, 0.9, alternative="greater").pvalue <= 0.1
    assert found.threshold == pytest.approx(falling(1_000)[found.n - 1])
    assert found.selective_accuracy == hits / found.n


def test_a_run_of_equal_confidences_is_never_split():
    confidence = np.repeat([0.9, 0.8], 500)
    found = selective.certify(confidence, np.arange(1_000) < 500, 0.95)
    assert (found.threshold, found.n, found.coverage) == (0.9, 500, 0.5)


def test_more_rows_help_only_where_the_surest_are_good_enough():
    near, far = (np.arange(200) % every > 0 for every in (25, 10))
    found = selective.certify(falling(200), near, 0.95)
    assert found.threshold is None
    assert found.needs > 200
    assert f"needs about {found.needs:,} rows" in found.sentence
    hopeless = selective.certify(falling(200), far, 0.95)
    assert hopeless.needs is None
    assert "more rows would not change that" in hopeless.sentence


def test_the_guarantee_holds_in_nine_of_ten_worlds():
    """The true precision from a threshold c on is the mean of p over confidences c to 1, which is known here."""
    random = np.random.default_rng(0)
    broken = found = 0
    for _ in range(400):
        confidence = random.uniform(0, 1, 2_000)
        right = random.random(2_000) < 1 - 0.3 * (1 - confidence)
        made = selective.certify(confidence, right, 0.95)
        if made.threshold is not None:
            found += 1
            broken += 1 - 0.3 * (1 - made.threshold) / 2 < 0.95
    assert found >= 300
    assert broken / 400 <= 0.1 + 2 * np.sqrt(0.09 / 400)


def test_the_curve_counts_the_surest():
    curve = selective.curve(falling(100), np.arange(100) < 60, points=4)
    assert [row["n"] for row in curve] == [25, 50, 75, 100]
    assert [row["value"] for row in curve] == [1.0, 1.0, 0.8, 0.6]
    assert curve[-1]["threshold"] == pytest.approx(0.2)
