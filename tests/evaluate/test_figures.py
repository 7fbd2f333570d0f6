"""Figures by hand, and against scikit-learn and scipy where these have them."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import mannwhitneyu
from sklearn.metrics import f1_score, log_loss, roc_auc_score, top_k_accuracy_score

from models import metrics
from models.evaluation import bootstrap, scope, selective
from models.evaluation.answered import OUTSIDE, Answered
from models.evaluation.figures import figures
from models.evaluation.reliability import reliability
from service.pages import told

LABELS = ("a", "b", "c", "other")


def answered(scores, truth, automated=None, scope=None):
    scores = np.array(scores, float)
    n = len(truth)
    return Answered(
        LABELS[: scores.shape[1]],
        scores,
        np.array(truth),
        scores.max(axis=1) if scope is None else np.array(scope, float),
        np.zeros(n, bool) if automated is None else np.array(automated),
        np.arange(1.0, n + 1),
    )


@pytest.fixture(scope="module")
def drawn():
    """400 rows over four labels; labels are drawn from the scores, so the confidences are right."""
    random = np.random.default_rng(1)
    scores = random.dirichlet([0.5] * 4, 400)
    truth = np.array([random.choice(4, p=p) for p in scores])
    return answered(scores, truth)


SCORES = [[0.7, 0.2, 0.1, 0.0], [0.5, 0.4, 0.1, 0.0], [0.1, 0.3, 0.6, 0.0], [0.4, 0.3, 0.2, 0.1]]


def test_by_hand():
    found = figures(answered(SCORES, [0, 1, 2, 3]), frozenset(), [0.95])
    assert (found["n"], found["accuracy"], found["top3"]) == (4, 0.5, 0.75)
    assert found["accuracy_ci"] == pytest.approx([0.150, 0.850], abs=5e-4)
    # F1: a 2/(2+2) = .5, b 0, c 1, other 0
    assert found["macro_f1"] == pytest.approx(1.5 / 4)
    assert found["mean_confidence"] == pytest.approx(0.55)
    # confidence - right: -.3, .5, -.4, .4
    assert found["confidence_gap"] == pytest.approx(0.05)
    assert found["confidence_gap_se"] == pytest.approx(((0.35**2 + 0.45**2 + 0.45**2 + 0.35**2) / 4) ** 0.5 / 2)
    assert found["brier"] == pytest.approx((0.09 + 0.25 + 0.16 + 0.16) / 4)
    assert found["nll"] == pytest.approx(-np.log(0.7 * 0.4 * 0.6 * 0.1) / 4)
    # the surest first: right, right, wrong, wrong
    assert found["aurc"] == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert (found["ms_p50"], found["ms_p95"]) == (2.5, pytest.approx(3.85))
    assert found["confusions"] == [
        {"label": "b", "said": "a", "n": 1, "of": 1},
        {"label": "other", "said": "a", "n": 1, "of": 1},
    ]


def test_a_row_outside_counts_for_scope_and_automation_only():
    inside = answered(SCORES, [0, 1, 2, 3], automated=[True] * 4)
    more = answered([*SCORES, [0.9, 0.1, 0, 0]], [0, 1, 2, 3, OUTSIDE], automated=[True] * 4 + [True])
    one, other = (figures(a, frozenset(), [0.95]) for a in (inside, more))
    for name in ("n", "accuracy", "nll", "aurc", "ece", "confusions"):
        assert one[name] == other[name]
    assert (one["automated_precision"], other["automated_precision"]) == (2 / 4, 2 / 5)
    assert (one["oos_auroc"], one["n_oos"], other["oos_auroc"], other["n_oos"]) == (None, 0, 0.0, 1)


def test_labels_without_scores_are_measured_by_labels_alone():
    labels_only = dataclasses.replace(answered(SCORES, [0, 1, 2, 3]), scored=False)
    found = figures(labels_only, frozenset({"other"}), [0.95])
    with_scores = figures(answered(SCORES, [0, 1, 2, 3]), frozenset({"other"}), [0.95])
    assert found.keys() == with_scores.keys()
    for name in ("n", "accuracy", "macro_f1", "macro_f1_ci", "n_oos", "ms_p50", "confusions"):
        assert found[name] == with_scores[name]
    for name in ("ece", "nll", "aurc", "mean_confidence", "top3", "oos_auroc"):
        assert found[name] is None
    shown = found | {"calibration": {"n": None, "state": "uncalibrated"}, "tickets_per_s": 1.0}
    assert told.rows([shown])["ECE"] == ["no confidence"]


def test_a_label_that_means_none_of_these_is_outside_and_a_label():
    found = figures(answered(SCORES, [0, 1, 2, 3], scope=[4, 3, 2, 1]), frozenset({"other"}), [0.95])
    assert (found["n"], found["n_oos"], found["oos_auroc"]) == (4, 1, 1.0)


def test_against_scikit_learn(drawn):
    found = figures(drawn, frozenset(), [0.95])
    assert found["macro_f1"] == pytest.approx(f1_score(drawn.truth, drawn.said, average="macro"))
    assert found["top3"] == pytest.approx(top_k_accuracy_score(drawn.truth, drawn.scores, k=3))
    assert found["nll"] == pytest.approx(log_loss(drawn.truth, drawn.scores), abs=1e-6)


def test_macro_f1_leaves_out_labels_that_nobody_said_or_meant():
    few = answered([[0.9, 0.1, 0, 0]] * 3, [0, 0, 1])
    assert bootstrap.macro_f1(few) == pytest.approx(f1_score([0, 0, 1], [0, 0, 0], average="macro", zero_division=0))


def test_intervals_are_those_of_scipy(drawn):
    hits = drawn.right.astype(float)
    ours = bootstrap.intervals(drawn, {"x": hits}, seed=0)
    theirs = scipy_bootstrap((hits,), np.mean, method="percentile", rng=1, n_resamples=2_000).confidence_interval
    assert ours["x"] == pytest.approx(tuple(theirs), abs=0.01)
    low, high = ours["macro_f1"]
    assert low < bootstrap.macro_f1(drawn) < high
    assert ours == bootstrap.intervals(drawn, {"x": hits}, seed=0)


def test_every_resample_of_the_bootstrap_is_scikit_learns_f1(drawn):
    picks = np.random.default_rng(2).integers(0, 400, 400)
    counts = np.bincount(picks, minlength=400)[None].astype(float)
    expected = f1_score(drawn.truth[picks], drawn.said[picks], average="macro")
    assert bootstrap._macro_f1(drawn, counts)[0] == pytest.approx(expected)


def test_aurc_does_not_depend_on_the_order_of_equals():
    confidence = np.array([0.5] * 6)
    right = np.array([True] * 3 + [False] * 3)
    assert selective.aurc(confidence, right) == selective.aurc(confidence, right[::-1]) == pytest.approx(0.5)


def test_the_interval_of_aurc_contains_it(drawn):
    low, high = bootstrap.intervals(drawn, {}, seed=0)["aurc"]
    assert low < selective.aurc(drawn.confidence, drawn.right) < high


@pytest.mark.parametrize("first", [0, 1])
def test_the_interval_of_aurc_does_not_depend_on_the_order_of_equals(first):
    same = answered([[0.6, 0.4]] * 200, np.repeat([first, 1 - first], 100))
    low, high = bootstrap.intervals(same, {}, seed=0)["aurc"]
    assert low < selective.aurc(same.confidence, same.right) == 0.5 < high
    assert high - low < 0.2


def test_each_bootstrap_is_drawn_once(drawn, monkeypatch):
    made = []

    def counted(*given):
        made.append(given)
        return real(*given)

    real = bootstrap.intervals
    monkeypatch.setattr(bootstrap, "intervals", counted)
    assert figures(drawn, frozenset(), [0.95])["macro_f1_ci"] == list(real(drawn, {}, 0)["macro_f1"])
    assert len(made) == 1


def test_scope_against_scikit_learn():
    random = np.random.default_rng(3)
    inside, outside = random.normal(1, 1, 300).round(1), random.normal(0, 1, 80).round(1)
    found = scope.outside(inside, outside)
    everything = np.concatenate([inside, outside])
    assert found["oos_auroc"] == pytest.approx(roc_auc_score([1] * 300 + [0] * 80, everything))
    assert found["oos_auroc"] == pytest.approx(mannwhitneyu(inside, outside).statistic / (300 * 80))


def test_rejected_where_95_percent_are_kept():
    inside = np.arange(1, 101.0)  # the threshold is 5 of 1 to 100
    found = scope.outside(inside, np.array([0, 4, 5, 50, 200.0]))
    assert found["oos_rejected_at_95_kept"] == 2 / 5
    assert (inside >= 5).mean() >= 0.95


def test_the_bins_are_those_of_the_ece(drawn):
    bins = reliability(drawn.confidence, drawn.right)
    assert sum(one["n"] for one in bins) == 400
    gap = sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / 400
    assert gap == pytest.approx(metrics.ece(drawn.confidence.tolist(), drawn.right.tolist()).value)


def test_equal_confidences_share_a_bin_and_its_bar_is_binomial():
    (one,) = reliability(np.full(1_000, 0.8), np.arange(1_000) < 700)
    assert (one["n"], one["accuracy"]) == (1_000, 0.7)
    spread = 1.96 * np.sqrt(0.8 * 0.2 / 1_000)
    assert (one["low"], one["high"]) == pytest.approx((0.8 - spread, 0.8 + spread), abs=0.004)


def test_a_right_llm_lies_inside_its_consistency_bars(drawn):
    bins = reliability(drawn.confidence, drawn.right)
    assert sum(one["low"] <= one["accuracy"] <= one["high"] for one in bins) >= 12


def test_the_null_of_the_ece_is_what_right_confidences_show():
    random = np.random.default_rng(4)
    confidence = random.uniform(0.4, 1, 300)
    seen = [metrics.ece(confidence.tolist(), (random.random(300) < confidence).tolist(), rounds=1) for _ in range(300)]
    values = np.array([one.value for one in seen])
    null = metrics.ece(confidence.tolist(), [True] * 300)
    assert values.mean() == pytest.approx(null.null_mean, abs=0.002)
    assert (values > null.null_p95).mean() == pytest.approx(0.05, abs=0.035)
