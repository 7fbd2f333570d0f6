"""Answering only the surest tickets: risk against coverage, and the threshold that keeps a promised precision. Pure."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from models.metrics import proportion

DELTA = 0.1  # how often a certificate may be wrong
STEPS = 40


@dataclass(frozen=True, slots=True)
class Certificate:
    """The least confidence from which answers keep the target precision; `threshold` is None where nothing is certain.

    `coverage` and `selective_accuracy` are of the `n` rows from the threshold on. `needs` says about how many rows it
    would take, None where more rows would not help; `sentence` says so in words.
    """

    threshold: float | None
    coverage: float
    selective_accuracy: float | None
    n: int
    delta: float
    needs: int | None
    sentence: str


def aurc(confidence: np.ndarray, right: np.ndarray) -> float:
    """The area under risk against coverage: the mean error of the k surest, over all k (Geifman & El-Yaniv 2017).

    Rows of equal confidence count with their common error, so that the order of the file does not matter.
    """
    order = np.argsort(-confidence, kind="stable")
    wrong = _shared(confidence[order], ~right[order])
    return float((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean())


def _shared(confidence: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    _, run, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    return (np.bincount(run, weights=wrong) / counts)[run]


def curve(confidence: np.ndarray, right: np.ndarray, points: int = 20) -> list[dict[str, float | int | None]]:
    """Accuracy of the surest tickets at some shares of all of them; a run of equal confidences is never split."""
    return [
        {"coverage": n / len(right), "threshold": threshold, "value": p.value, "low": p.low, "high": p.high, "n": n}
        for threshold, n, hits in _heads(confidence, right, np.linspace(1, len(right), points + 1)[1:])
        for p in [proportion(hits, n)]
    ]


def certify(confidence: np.ndarray, right: np.ndarray, target: float, delta: float = DELTA) -> Certificate:
    """The threshold from which at least `target` are right, wrong with probability at most `delta`.

    Fixed-sequence Learn-then-Test (Angelopoulos et al. 2021): the surest rows first, then more and more of them, each
    step an exact binomial test of "not better than target" at delta; the first that cannot be refused ends it.
    The first step has twice the rows that all being right would take, and at least a tenth of all.
    """
    least = math.ceil(2 * math.log(delta) / math.log(target))
    start = max(least, math.ceil(len(right) / 10))
    if len(right) < start:
        return _nothing(f"not certifiable: needs about {least} rows", delta, least)
    best = None
    for threshold, n, hits in _heads(confidence, right, np.linspace(start, len(right), STEPS)):
        if binom.sf(hits - 1, n, target) > delta:
            if best is None:
                return _hopes(hits / n, n, len(right), target, delta)
            break
        best = threshold, n, hits
    assert best is not None  # noqa: S101 (there is always a first step)
    threshold, n, hits = best
    sentence = f"from a confidence of {threshold:.3f} on at least {target:.1%} are right, at {1 - delta:.0%} confidence"
    return Certificate(threshold, n / len(right), hits / n, n, delta, None, sentence)


def _heads(confidence: np.ndarray, right: np.ndarray, sizes: np.ndarray) -> list[tuple[float, int, int]]:
    """For the surest so many rows: the least confidence among them, how many reach it, how many of these are right."""
    order = np.argsort(-confidence, kind="stable")
    ordered, hits = confidence[order], np.cumsum(right[order])
    thresholds = dict.fromkeys(float(ordered[max(1, int(size)) - 1]) for size in sizes)
    reached = [(threshold, int(np.searchsorted(-ordered, -threshold, side="right"))) for threshold in thresholds]
    return [(threshold, n, int(hits[n - 1])) for threshold, n in reached]


def _hopes(share: float, n: int, total: int, target: float, delta: float) -> Certificate:
    """Why the first step failed: too few rows for what is there, or not good enough for any number."""
    if share <= target:
        sentence = f"not certifiable: of the surest {n} rows {share:.3f} are right, and more rows would not change that"
        return _nothing(sentence, delta, None)
    head = float(n)
    while binom.sf(share * head - 1, int(head), target) > delta:
        head *= 1.02
    needs = _rounded_up(head * total / n)
    return _nothing(f"not certifiable: needs about {needs:,} rows", delta, needs)


def _rounded_up(rows: float) -> int:
    """To two digits: it is a guess, made from the rows that were not enough."""
    unit: int = 10 ** max(0, math.floor(math.log10(rows)) - 1)
    return math.ceil(rows / unit) * unit


def _nothing(sentence: str, delta: float, needs: int | None) -> Certificate:
    return Certificate(None, 0.0, None, 0, delta, needs, sentence)
