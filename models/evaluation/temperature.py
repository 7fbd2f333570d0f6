"""The temperature that makes an llm's confidences true, and whether to believe it. Called by calibrate and evaluate."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from models.errors import InvalidRequest

FEWEST, ENOUGH = 100, 300
COLDEST, HOTTEST = 0.2, 5.0


@dataclass(frozen=True, slots=True)
class Fit:
    """A temperature from `n` rows. `before` and `after` are the NLL of rows that the fit had not seen."""

    temperature: float
    n: int
    before: float
    after: float

    @property
    def accepted(self) -> bool:
        return self.after < self.before


def fit(logprobs: np.ndarray, right: np.ndarray, seed: int = 0) -> Fit:
    """Fits on all rows; judges by two folds, each scaled by the temperature of the other.

    logprobs is [rows, labels] raw, right the index of each row's label. Raises InvalidRequest below 100 rows.
    """
    n = len(right)
    if n < FEWEST:
        raise InvalidRequest(f"a temperature needs at least {FEWEST} labelled tickets, and these are {n}")
    fold = np.random.default_rng(seed).permutation(n) % 2
    after = 0.0
    for part in (0, 1):
        scaled = logprobs[fold == part] / best(logprobs[fold != part], right[fold != part])
        after += nll(scaled, right[fold == part]) * int((fold == part).sum()) / n
    return Fit(best(logprobs, right), n, nll(logprobs, right), after)


def best(logprobs: np.ndarray, right: np.ndarray) -> float:
    """The temperature from 0.2 to 5 with the least negative log-likelihood (Guo et al. 2017, section 4.2)."""
    bounds = (float(np.log(COLDEST)), float(np.log(HOTTEST)))
    found = minimize_scalar(lambda log_t: nll(logprobs / np.exp(log_t), right), bounds=bounds, method="bounded")
    return round(float(np.exp(found.x)), 4)


def nll(logits: np.ndarray, right: np.ndarray) -> float:
    """The mean negative log-likelihood of the right labels, in nats."""
    top = logits.max(axis=1)
    normaliser = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((normaliser - logits[np.arange(len(right)), right]).mean())
