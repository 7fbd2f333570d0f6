"""Tickets that belong to no label: how well the scope score tells them from the others. Pure."""

from typing import Any

import numpy as np
from scipy.stats import rankdata

from models.metrics import proportion

KEPT = 0.95


def outside(scores_inside: np.ndarray, scores_outside: np.ndarray) -> dict[str, Any]:
    """AUROC (an equal score counts half), and how many are rejected by the score that 95 % of the others reach."""
    n = len(scores_outside)
    if n == 0 or len(scores_inside) == 0:
        return {"oos_auroc": None, "n_oos": n, "oos_rejected_at_95_kept": None, "oos_rejected_ci": None}
    threshold = np.quantile(scores_inside, 1 - KEPT, method="lower")
    rejected = proportion(int((scores_outside < threshold).sum()), n)
    return {
        "oos_auroc": _auroc(scores_inside, scores_outside),
        "n_oos": n,
        "oos_rejected_at_95_kept": rejected.value,
        "oos_rejected_ci": [rejected.low, rejected.high],
    }


def _auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """The chance that a row inside has the higher score than one outside (Mann & Whitney 1947)."""
    ranks = rankdata(np.concatenate([inside, outside]))[: len(inside)]
    return float((ranks.sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside)))
