"""Figures for the model cards, with intervals. Called by evaluate.py. Pure."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

BINS = 15


def share(hits: Sequence[bool]) -> tuple[float, float, float]:
    """A share with its 95 % interval (Wilson 1927)."""
    interval = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return sum(hits) / len(hits), float(interval.low), float(interval.high)


def mcnemar(one: Sequence[bool], other: Sequence[bool]) -> tuple[int, int, float]:
    """Rows only `one` and only `other` has right, and the exact two-sided p (McNemar 1947, binomial form)."""
    only_one = sum(a and not b for a, b in zip(one, other, strict=True))
    only_other = sum(b and not a for a, b in zip(one, other, strict=True))
    return only_one, only_other, float(binomtest(only_one, max(1, only_one + only_other)).pvalue)


def ece(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error over 15 bins of equal mass (Naeini et al. 2015, Nixon et al. 2019)."""
    order = np.argsort(confidence, kind="stable")
    bins = zip(np.array_split(confidence[order], BINS), np.array_split(right[order], BINS), strict=True)
    return float(sum(abs(c.mean() - r.mean()) * len(c) for c, r in bins) / len(confidence))


def ece_null_mean(confidence: np.ndarray, rounds: int = 2_000, seed: int = 0) -> float:
    """The mean ECE if the confidences were exactly right: rightness drawn with probability equal to confidence."""
    random = np.random.default_rng(seed)
    return float(np.mean([ece(confidence, random.random(len(confidence)) < confidence) for _ in range(rounds)]))


def ece_interval(confidence: np.ndarray, right: np.ndarray, rounds: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """The 2.5 % and 97.5 % points of the ECE over bootstrap samples of the rows; biased upwards like the ECE itself."""
    random = np.random.default_rng(seed)
    picks = (random.integers(0, len(right), len(right)) for _ in range(rounds))
    low, high = np.quantile([ece(confidence[pick], right[pick]) for pick in picks], [0.025, 0.975])
    return float(low), float(high)
