"""The temperature from logits of rows that the weights did not see, and probabilities that are honest about it.

Called by training. The rows that fit a temperature never judge it: each fold is scaled by that of the others.
"""

from dataclasses import dataclass

import numpy as np

from models.evaluation.temperature import FEWEST, best, nll
from models.llm.linear.model import log_softmax


@dataclass(frozen=True)
class Fit:
    """`temperature` of all rows; `scaled` are log-probabilities, each row's at the temperature of the other folds.

    `before` and `after` are the mean negative log-likelihood at temperature 1 and of `scaled`.
    """

    temperature: float
    scaled: np.ndarray
    before: float
    after: float


def cross_fit(logits: np.ndarray, right: np.ndarray, folds: np.ndarray) -> Fit:
    """Fits [rows, labels] `logits` to the index of each row's label; `folds` is each row's part.

    A temperature that does not lower the NLL of the folds it was not fitted on is refused: it is 1 then, as it is
    where there are too few rows to fit one, or no second fold.
    """
    before = nll(logits, right)
    unscaled = Fit(1.0, log_softmax(logits), before, before)
    if len(right) < FEWEST or len(np.unique(folds)) < 2:
        return unscaled
    scaled = np.empty_like(logits)
    for fold in np.unique(folds):
        inside = folds == fold
        scaled[inside] = log_softmax(logits[inside] / best(logits[~inside], right[~inside]))
    after = nll(scaled, right)
    return Fit(best(logits, right), scaled, before, after) if after < before else unscaled
