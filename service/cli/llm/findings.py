"""What `llm verify` found, in sentences; those that Triage relies on are judged. Used by llm verify. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.cli.common import counted

Figures = dict[str, Any]
Judged = tuple[bool | None, str]
MASS = 0.9
"""Below it the cascade sends a ticket to a human: the llm has not understood the question."""
NAMED = 5


@dataclass(frozen=True)
class Line:
    """One thing that was looked at; `ok` None is told and not judged."""

    what: str
    ok: bool | None
    says: str


def lines(field: str, figures: Figures) -> list[Line]:
    """Every figure of one field."""
    return [Line(f"{field}, {what}", *tell(figures)) for what, tell in TOLD.items()]


def _answers(figures: Figures) -> Judged:
    empty, refused = (figures["unanswered"][why] for why in ("empty", "refused"))
    without = f"; {counted(empty, 'ticket')} had no text" if empty else ""
    if refused:
        return False, f"{refused:,} of {counted(figures['n'], 'ticket')} were refused or got no score{without}"
    return True, f"{counted(figures['n'] - empty, 'ticket')} answered{without}"


def _codes(figures: Figures) -> Judged:
    codes = figures["codes"]
    if not codes["prompts"]:
        return None, "nothing was asked"
    says = f"all of them listed in {codes['complete'] / codes['prompts']:.1%} of {counted(codes['prompts'], 'prompt')}"
    if codes["missing"]:
        says += f"; missing: {_some([f'{code} ({n:,} of them)' for code, n in codes['missing'].items()])}"
    if codes["never"]:
        return None, f"{says}; never listed: {_some(codes['never'])}"
    return None, says


def _mass(figures: Figures) -> Judged:
    mass = figures["mass"]
    if mass["median"] is None:
        return None, "this server gives no log-probabilities: nobody knows how sure it is"
    says = f"median {mass['median']:.3f}, 5 % of the tickets below {mass['p5']:.3f}"
    good = mass["median"] >= MASS
    return good, says if good else f"{says}; it must be {MASS} or more: the llm does not answer with the codes"


def _accuracy(figures: Figures) -> Judged:
    share = figures["accuracy"]["share"]
    if share["value"] is None:
        return None, "no ticket with a label of this field was answered"
    return None, f"{share['value']:.3f} ({share['low']:.3f}-{share['high']:.3f}), n {share['n']:,}"


def _confidence(figures: Figures) -> Judged:
    ece = figures["accuracy"]["ece"]
    if ece is None:
        return None, "no confidence to judge"
    state = "calibrated" if figures["calibrated"] else "not calibrated"
    says = f"{state}; ECE {ece['value']:.4f}, by chance alone {ece['null_mean']:.4f}, difference {ece['debiased']:+.4f}"
    if ece["value"] <= ece["null_p95"]:
        return None, says
    return None, f"{says}; that is no chance: fit it with triage calibrate on other labelled tickets"


def _times(figures: Figures) -> Judged:
    parts = {name.removesuffix("_ms"): part for name, part in figures["times"].items() if part["p50"] is not None}
    return None, ", ".join(f"{name} {part['p50']:.1f} ms (p95 {part['p95']:.1f})" for name, part in parts.items())


TOLD: dict[str, Callable[[Figures], Judged]] = {
    "answers": _answers,
    "codes": _codes,
    "mass": _mass,
    "accuracy": _accuracy,
    "confidence": _confidence,
    "times": _times,
}


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
