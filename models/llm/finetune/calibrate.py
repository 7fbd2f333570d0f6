"""Fits one field's temperature on the held-out calibrate rows. Called by tiny.py."""

from collections.abc import Sequence

import numpy as np

from models.evaluation import temperature
from models.llm.calibration import Calibration
from models.llm.calibration_key import Key


def fit_temperature(logprobs: np.ndarray, right: Sequence[int], name: str, key: Key) -> Calibration:
    """The calibration that `triage calibrate` would find; logprobs is [rows, labels] raw."""
    return Calibration(temperature.best(logprobs, np.array(right)), f"{name}-{len(right)}", len(right), key)
