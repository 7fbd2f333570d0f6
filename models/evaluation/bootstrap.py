"""95 % intervals by bootstrap over rows, for figures without a formula: macro-F1, Brier, NLL, AURC. Pure, seeded."""

from collections.abc import Iterator

import numpy as np

from models.evaluation.answered import Answered

ROUNDS = 1_000
_AT_ONCE = 50
Interval = tuple[float, float]


def intervals(answered: Answered, losses: dict[str, np.ndarray], seed: int) -> dict[str, Interval]:
    """The percentile intervals (Efron 1979) of macro_f1, aurc, and the mean of each of the `losses`, one per row."""
    order = np.argsort(-answered.confidence, kind="stable")
    ordered = answered.only(order)
    runs = np.unique(-ordered.confidence, return_index=True)[1]
    columns = {name: loss[order] for name, loss in losses.items()}
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("macro_f1", "aurc", *columns)}
    for counts in _resamples(len(order), seed):
        found["macro_f1"].append(_macro_f1(ordered, counts))
        found["aurc"].append(_aurc(~ordered.right, counts, runs))
        for name, loss in columns.items():
            found[name].append(counts @ loss / len(order))
    return {name: _middle(np.concatenate(values)) for name, values in found.items()}


def macro_f1(answered: Answered) -> float:
    """The mean F1 of the labels that were said or true at least once, as scikit-learn has it."""
    return float(_macro_f1(answered, np.ones((1, len(answered.truth))))[0])


def _resamples(n: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row was drawn, a few draws of n rows at a time: all at once would take gigabytes."""
    random = np.random.default_rng(seed)
    for start in range(0, ROUNDS, _AT_ONCE):
        rounds = min(_AT_ONCE, ROUNDS - start)
        picks = random.integers(0, n, (rounds, n)) + np.arange(rounds)[:, None] * n
        yield np.bincount(picks.ravel(), minlength=rounds * n).reshape(rounds, n).astype(float)


def _macro_f1(answered: Answered, counts: np.ndarray) -> np.ndarray:
    one_hot = np.eye(len(answered.labels))
    said, true = one_hot[answered.said], one_hot[answered.truth]
    hits, either = counts @ (said * true), counts @ (said + true)
    seen = either > 0
    mean: np.ndarray = np.where(seen, 2 * hits / np.where(seen, either, 1), 0).sum(axis=1) / seen.sum(axis=1)
    return mean


def _aurc(wrong: np.ndarray, counts: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Rows in the order of falling confidence; the copies of a row share the risk at its end.

    `runs` is where each run of equal confidences starts: its rows share their error, as in `selective.aurc`.
    """
    size = np.add.reduceat(counts, runs, axis=1)
    error = np.add.reduceat(counts * wrong, runs, axis=1) / np.maximum(size, 1)
    shared = np.repeat(error, np.diff(np.append(runs, len(wrong))), axis=1)
    drawn = np.cumsum(counts, axis=1)
    risk = np.cumsum(counts * shared, axis=1) / np.maximum(drawn, 1)
    mean: np.ndarray = (risk * counts).sum(axis=1) / drawn[:, -1]
    return mean


def _middle(values: np.ndarray) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
