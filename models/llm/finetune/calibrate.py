"""Fits one field's temperature on the held-out calibrate rows. Called by tiny.py."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from models.llm.card import Calibration


def fit_temperature(logprobs: np.ndarray, right: Sequence[int], name: str) -> Calibration:
    """The temperature that minimises the negative log-likelihood (Guo et al. 2017, section 4.2).

    logprobs is [rows, labels] raw, right the index of each row's label. The interval 0.2 to 5 is searched in log T.
    """
    found = minimize_scalar(lambda log_t: _nll(logprobs / np.exp(log_t), right), bounds=(-1.6, 1.6), method="bounded")
    return Calibration(round(float(np.exp(found.x)), 4), f"{name}-{len(right)}", len(right), "fitted")


def _nll(logits: np.ndarray, right: Sequence[int]) -> float:
    top = logits.max(axis=1)
    normaliser = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((normaliser - logits[np.arange(len(right)), right]).mean())
