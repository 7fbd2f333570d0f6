"""The figures of an evaluation in words, each with its n and interval. Used by the terminal's table and the page's."""

from collections.abc import Callable
from typing import Any

Result = dict[str, Any]
UNSURE = "no confidence"
WITHOUT_CONFIDENCE = ("tickets", "accuracy", "macro-F1", "calibration", "automated", "ms", "tickets a second")


def rows(results: list[Result]) -> dict[str, list[str]]:
    """What is measured -> what to say of each result; all results are of one field."""
    found = {name: [_tell(name, one) for one in results] for name in FIGURES}
    targets = dict.fromkeys(target for one in results for target in one["coverage_at"])
    return found | {
        f"precision {target}": [_promise(one["coverage_at"].get(target)) for one in results] for target in targets
    }


def _tell(name: str, one: Result) -> str:
    sure = one["mean_confidence"] is not None
    return FIGURES[name](one) if sure or name in WITHOUT_CONFIDENCE else UNSURE


def _bounded(name: str) -> Callable[[Result], str]:
    """A figure with its interval."""

    def tell(one: Result) -> str:
        low, high = one[f"{name}_ci"]
        return f"{one[name]:.3f} ({low:.3f}-{high:.3f})"

    return tell


def _chance(one: Result) -> str:
    return f"{one['ece_null_mean']:.4f}, 95 % below {one['ece_null_p95']:.4f}"


def _automated(one: Result) -> str:
    if not one["n_automated"]:
        return "none"
    return f"{one['automated']:.1%} (n={one['n_automated']:,}), right {_bounded('automated_precision')(one)}"


def _promise(promise: dict[str, Any] | None) -> str:
    if promise is None:
        return UNSURE
    if promise["threshold"] is None:
        return str(promise["sentence"])
    return f"{promise['coverage']:.1%} (n={promise['n']:,}) from {promise['threshold']:.3f} on"


def _outside(one: Result) -> str:
    if one["oos_auroc"] is None:
        return "no such tickets"
    return f"AUROC {one['oos_auroc']:.3f}, rejected {one['oos_rejected_at_95_kept']:.1%} (n={one['n_oos']:,})"


def _state(one: Result) -> str:
    calibration = one["calibration"]
    if calibration["n"] is None:
        return str(calibration["state"])
    fit = f"T {1 / calibration['beta']:.3f}" if calibration["beta"] is not None else "prior"
    return f"{calibration['state']}, {fit} from {calibration['n']:,}"


FIGURES: dict[str, Callable[[Result], str]] = {
    "tickets": lambda one: f"{one['n']:,}",
    "accuracy": _bounded("accuracy"),
    "macro-F1": _bounded("macro_f1"),
    "among the first three": _bounded("top3"),
    "mean confidence": lambda one: f"{one['mean_confidence']:.3f}",
    "confidence minus accuracy": lambda one: f"{one['confidence_gap']:+.4f} (2 SE {2 * one['confidence_gap_se']:.4f})",
    "ECE": lambda one: f"{one['ece']:.4f}",
    "ECE by chance alone": _chance,
    "ECE minus chance": lambda one: f"{one['ece_debiased']:+.4f}",
    "Brier": _bounded("brier"),
    "NLL": _bounded("nll"),
    "AURC": _bounded("aurc"),
    "calibration": _state,
    "automated": _automated,
    "none of the labels": _outside,
    "ms": lambda one: f"p50 {one['ms_p50']:.1f}, p95 {one['ms_p95']:.1f}",
    "tickets a second": lambda one: f"{one['tickets_per_s']:,.0f}",
}
