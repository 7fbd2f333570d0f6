"""Does a confidence mean what it says, bin by bin: the reliability diagram with its consistency bars. Pure, seeded."""

from typing import Any

import numpy as np

BINS = 15
ROUNDS, AT_ONCE = 1_000, 50


def reliability(confidence: np.ndarray, right: np.ndarray, seed: int = 0) -> list[dict[str, Any]]:
    """The bins of metrics.ece: how many rows, their mean confidence, their accuracy, and the consistency bar.

    Between `low` and `high` lie 95 % of the accuracies that exactly right confidences would show (Broecker & Smith
    2007, Weather and Forecasting 22:651): the labels are drawn from the confidences.
    """
    random = np.random.default_rng(seed)
    places = _places(confidence)
    return [_bin(confidence[places == place], right[places == place], random) for place in np.unique(places)]


def _places(confidence: np.ndarray) -> np.ndarray:
    """The bin of each row: equal mass, and a run of equal confidences stays in one bin."""
    _, run, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    middles = 2 * (np.cumsum(counts) - counts) + counts
    return (middles * BINS // (2 * len(confidence)))[run]


def _bin(confidence: np.ndarray, right: np.ndarray, random: np.random.Generator) -> dict[str, Any]:
    some = (AT_ONCE, len(confidence))
    drawn = np.concatenate([(random.random(some) < confidence).mean(axis=1) for _ in range(ROUNDS // AT_ONCE)])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "n": len(right),
        "confidence": float(confidence.mean()),
        "accuracy": float(right.mean()),
        "low": float(low),
        "high": float(high),
    }
