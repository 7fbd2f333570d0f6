"""Multinomial logistic regression along a path of strengths, and the cross-validation that chooses one of them.

Called by training. Each strength starts from the weights of the one before, which halves the work.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from models.llm.linear.crossfit import Fit, cross_fit
from models.llm.linear.features import weighting

STRENGTHS = (2.0, 8.0, 32.0)  # scikit-learn's C
FOLDS = 5
_TOLERANCE, _STEPS = 1e-4, 200
_MEMORY, _PER_WEIGHT = 2_000_000_000, 200  # bytes for all fits at once; L-BFGS keeps 25 numbers for each weight
_UNSEEN = 10.0  # how far below a row's least logit a label lies that its fold was not trained on

Tick = Callable[[int], None]


@dataclass(frozen=True)
class Weights:
    """`matrix` is [terms, labels], `bias` [labels]."""

    matrix: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Choice:
    """The strength with the least NLL of unseen rows, and each row's logits by weights that did not see it."""

    strength: float
    logits: np.ndarray
    folds: np.ndarray
    fit: Fit
    tried: dict[float, float]


def choose(counts: Sequence[csr_matrix], right: np.ndarray, groups: np.ndarray, tick: Tick, seed: int = 0) -> Choice:
    """Tries the strengths from weak to strong until one is worse than the one before. A group stays in one fold.

    `tick` is told how many of the FOLDS x STRENGTHS fits are done; those that need not be made count as done. Only the
    folds are drawn, by `seed`.
    """
    folds = split(right, groups, seed)
    paths = [_Path(counts, right, folds != fold) for fold in np.unique(folds)]
    tried: dict[float, float] = {}
    best: Choice | None = None
    with ThreadPoolExecutor(_at_once(sum(count.shape[1] for count in counts) * (int(right.max()) + 1))) as pool:
        for strength in STRENGTHS:
            logits = np.empty((len(right), int(right.max()) + 1))
            for path, own in zip(paths, pool.map(lambda path, at=strength: path.logits(at), paths), strict=True):
                logits[~path.inside] = own
                tick(1)
            fit = cross_fit(logits, right, folds)
            tried[strength] = round(fit.after, 5)
            if best is not None and fit.after >= best.fit.after:
                break
            best = Choice(strength, logits, folds, fit, tried)
    assert best is not None  # noqa: S101 (the first strength is the best so far)
    tick((len(STRENGTHS) - len(tried)) * FOLDS)
    return best


def _at_once(weights: int) -> int:
    """How many fits of so many weights may run side by side; most of their time is spent outside the GIL."""
    return max(1, min(FOLDS, len(os.sched_getaffinity(0)), _MEMORY // (_PER_WEIGHT * weights)))


def split(right: np.ndarray, groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """The fold of each row: every label spread evenly, every group whole."""
    folds = np.zeros(len(right), dtype=int)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for fold, (_, inside) in enumerate(splitter.split(right, right, groups)):
        folds[inside] = fold
    return folds


def fit(rows: csr_matrix, right: np.ndarray, strength: float) -> Weights:
    """Weights of all rows at one strength."""
    return _weights(_regression(rows, right, strength, None))


def unseen(counts: Sequence[csr_matrix], right: np.ndarray, inside: np.ndarray, strength: float) -> np.ndarray:
    """The logits of the rows that are not `inside`, by weights of those that are."""
    return _Path(counts, right, inside).logits(strength)


class _Path:
    """One fold: trained on the rows `inside`, asked about the others."""

    def __init__(self, counts: Sequence[csr_matrix], right: np.ndarray, inside: np.ndarray):
        own = [count[inside] for count in counts]
        idf = weighting(own)
        self.inside, self.right, self.labels = inside, right[inside], int(right.max()) + 1
        self.rows, self.others = idf.rows(own), idf.rows([count[~inside] for count in counts])
        self.last: LogisticRegression | None = None

    def logits(self, strength: float) -> np.ndarray:
        if len(seen := np.unique(self.right)) == 1:  # all others are near-duplicates of what this fold asks about
            return np.tile(np.where(np.arange(self.labels) == seen, 0.0, -_UNSEEN), (self.others.shape[0], 1))
        self.last = _regression(self.rows, self.right, strength, self.last)
        found = _weights(self.last)
        own = self.others @ found.matrix + found.bias
        logits = np.repeat(own.min(axis=1, keepdims=True) - _UNSEEN, self.labels, axis=1)
        logits[:, self.last.classes_] = own
        return logits


def _regression(
    rows: csr_matrix, right: np.ndarray, strength: float, last: LogisticRegression | None
) -> LogisticRegression:
    model = last or LogisticRegression(tol=_TOLERANCE, max_iter=_STEPS, warm_start=True)
    return model.set_params(C=strength).fit(rows, right)


def _weights(model: LogisticRegression) -> Weights:
    """Of two labels scikit-learn keeps the difference: half of it for the one, minus half for the other."""
    matrix, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        matrix, bias = np.vstack([-matrix / 2, matrix / 2]), np.concatenate([-bias / 2, bias / 2])
    return Weights(np.ascontiguousarray(matrix.T), bias)
