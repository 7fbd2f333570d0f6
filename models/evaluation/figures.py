"""All figures of one llm or policy on one field, each with its n and, where it has one, its 95 % interval. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from models import metrics
from models.evaluation import bootstrap, scope, selective
from models.evaluation.answered import OUTSIDE, Answered
from models.evaluation.reliability import reliability

LEAST = 1e-12  # a probability that underflowed is not impossible
SHOWN = 20
CONFIDENCE = (
    *(
        "top3",
        "top3_ci",
        "mean_confidence",
        "confidence_gap",
        "confidence_gap_se",
        "ece",
        "ece_null_mean",
        "ece_null_p95",
        "ece_debiased",
        "brier",
        "brier_ci",
    ),
    *("nll", "nll_ci", "aurc", "aurc_ci", "oos_auroc", "oos_rejected_at_95_kept", "oos_rejected_ci"),
)
"""What only an llm that says how sure it is can be measured by."""


def figures(answered: Answered, others: frozenset[str], targets: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """The figures of `triage evaluate`. `others` are labels that mean "none of these": they count as outside too.

    A row that belongs to no label counts for scope and for what was automated, and for nothing else.
    """
    inside = answered.inside()
    found = {"n": len(inside.truth)} | _accuracy(inside) | _with_intervals(inside, seed)
    found |= _automated(answered) | _times(answered) | {"confusions": _confusions(inside)}
    if not answered.scored:
        n_oos = int(_outside(answered, others).sum())
        return (
            found | dict.fromkeys(CONFIDENCE) | {"n_oos": n_oos, "coverage_at": {}, "coverage": [], "reliability": []}
        )
    return (
        found
        | _share("top3", _among_the_first(inside, 3))
        | _calibration(inside, seed)
        | _selective(inside, targets)
        | _scope(answered, others)
    )


def _accuracy(inside: Answered) -> dict[str, Any]:
    return _share("accuracy", inside.right)


def _among_the_first(inside: Answered, k: int) -> np.ndarray:
    least = np.sort(inside.scores, axis=1)[:, -min(k, len(inside.labels))]
    own: np.ndarray = inside.scores[np.arange(len(inside.truth)), inside.truth]
    return own >= least


def _share(name: str, hits: np.ndarray) -> dict[str, Any]:
    found = metrics.proportion(int(hits.sum()), len(hits))
    return {name: found.value, f"{name}_ci": None if found.low is None else [found.low, found.high]}


def _calibration(inside: Answered, seed: int) -> dict[str, Any]:
    found = metrics.ece(inside.confidence.tolist(), inside.right.tolist(), seed=seed)
    assert found is not None  # noqa: S101 (there is at least one row)
    gaps = inside.confidence - inside.right
    return {
        "mean_confidence": float(inside.confidence.mean()),
        "confidence_gap": float(gaps.mean()),
        "confidence_gap_se": float(gaps.std() / len(gaps) ** 0.5),
        "ece": found.value,
        "ece_null_mean": found.null_mean,
        "ece_null_p95": found.null_p95,
        "ece_debiased": found.debiased,
        "reliability": reliability(inside.confidence, inside.right, seed),
    }


def _with_intervals(inside: Answered, seed: int) -> dict[str, Any]:
    losses = _losses(inside) if inside.scored else {}
    values = {"macro_f1": bootstrap.macro_f1(inside)} | {name: float(loss.mean()) for name, loss in losses.items()}
    if inside.scored:
        values["aurc"] = selective.aurc(inside.confidence, inside.right)
    bounds = bootstrap.intervals(inside, losses, seed)
    return values | {f"{name}_ci": list(bounds[name]) for name in values}


def _losses(inside: Answered) -> dict[str, np.ndarray]:
    own = inside.scores[np.arange(len(inside.truth)), inside.truth]
    return {"brier": (inside.confidence - inside.right) ** 2, "nll": -np.log(np.maximum(own, LEAST))}


def _selective(inside: Answered, targets: Sequence[float]) -> dict[str, Any]:
    found = {f"{t:g}": asdict(selective.certify(inside.confidence, inside.right, t)) for t in targets}
    return {"coverage_at": found, "coverage": selective.curve(inside.confidence, inside.right)}


def _automated(answered: Answered) -> dict[str, Any]:
    """Of all rows, those outside included: a ticket that belongs nowhere is automated wrongly."""
    found = _share("automated_precision", answered.right[answered.automated])
    n = int(answered.automated.sum())
    return found | {"n_automated": n, "automated": n / len(answered.truth)}


def _outside(answered: Answered, others: frozenset[str]) -> np.ndarray:
    beside = [at for at, label in enumerate(answered.labels) if label in others]
    return np.isin(answered.truth, [*beside, OUTSIDE])


def _scope(answered: Answered, others: frozenset[str]) -> dict[str, Any]:
    outside = _outside(answered, others)
    return scope.outside(answered.scope[~outside], answered.scope[outside])


def _times(answered: Answered) -> dict[str, Any]:
    return {f"ms_p{q:.0f}": float(np.quantile(answered.ms, q / 100)) for q in (50, 95)}


def _confusions(inside: Answered) -> list[dict[str, Any]]:
    """The commonest mistakes, and of how many rows of that label."""
    wrong = Counter(zip(inside.truth[~inside.right].tolist(), inside.said[~inside.right].tolist(), strict=True))
    of = Counter(inside.truth.tolist())
    ranked = sorted(wrong.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]
    return [
        {"label": inside.labels[true], "said": inside.labels[said], "n": n, "of": of[true]}
        for (true, said), n in ranked
    ]
