"""Two opinions -> one decision: when to ask the fallback, how to join the answers, what to do with the result. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from models.llm.answer import Answer, softmax
from models.llm.policy import NONE, Temperatures
from models.taxonomy import OTHER, TaxonomyField
from service.config import Arm

MASS_FLOOR = 0.9  # an llm that puts less than this on the labels together did not understand the question
SHOWN = 3
LEAST = 1e-300  # what has a logarithm
FLOOR = 1e-12  # the least that one llm may say of a label: with less it would overrule the other alone


@dataclass(frozen=True, slots=True)
class Decision:
    """A triage before it has a ticket. `reason` says why the action is what it is.

    `scores` are what decided, after the policy's own `temperature`, which is 1 where it has none.
    """

    label: str | None
    confidence: float | None
    calibrated: bool
    decided_by: str
    llms: list[str]
    action: str
    reason: str
    alternatives: list[dict[str, Any]]
    scores: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 1.0


EMPTY = Decision(None, None, False, "rule", [], "review", "empty", [])
"""Nothing was left of the text after cleaning."""


def escalates(primary: Answer, policy: Arm) -> bool:
    """Whether the fallback is asked because the primary is not sure enough, or does not say how sure it is."""
    return policy.fallback is not None and (primary.confidence is None or primary.confidence < policy.escalate_below)


def decide(
    primary: Answer, fallback: Answer | None, policy: Arm, labels: TaxonomyField, own: Temperatures = NONE
) -> Decision:
    """The decision from the primary's answer, and from the fallback's if the ticket was escalated and it answered.

    A shadow answer must not be passed. Without a temperature of the policy's `own` an escalated decision is
    uncalibrated: each llm's was fitted on all tickets, and these are only the hard ones. An answer without a confidence
    decides nothing where there is another.
    """
    fallback = fallback if fallback is not None and fallback.confidence is not None else None
    if primary.confidence is None:
        return _without_confidence(primary, fallback, policy, labels)
    hard = escalates(primary, policy)
    scores, llms = _joined(primary, fallback, policy)
    temperature = own.alone if not hard else own.escalated if fallback is not None else None
    if temperature is not None:
        scores = scaled(scores, temperature)
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    label, confidence = ranked[0], scores[ranked[0]]
    calibrated = temperature is not None or (primary.calibrated and not hard)
    mass = min(one.label_mass or 0.0 for one in (primary, fallback) if one is not None)
    action, reason = _action(label, confidence, calibrated, mass, policy, labels)
    if hard:
        reason = "escalated" if fallback is not None else "escalated_without_fallback"
    rest = [{"label": name, "confidence": scores[name]} for name in ranked[1 : 1 + SHOWN]]
    return Decision(label, confidence, calibrated, "cascade", llms, action, reason, rest, scores, temperature or 1.0)


def stand_in(other: Answer, policy: Arm, labels: TaxonomyField, last_resort: str | None = None) -> Decision:
    """The decision of an llm that answers alone, for a primary that cannot: the fallback, or the `last_resort`.

    Its own calibration holds: it was not asked because the ticket is hard.
    """
    alone = policy.model_copy(update={"primary": last_resort or policy.fallback, "fallback": None})
    reason = "last_resort" if last_resort is not None else "primary_failed"
    return replace(decide(other, None, alone, labels), reason=reason)


def _without_confidence(primary: Answer, fallback: Answer | None, policy: Arm, labels: TaxonomyField) -> Decision:
    """The fallback is asked for every ticket then, not for the hard ones, so it decides as if alone; else a human."""
    if fallback is not None:
        return replace(stand_in(fallback, policy, labels), reason="primary_without_confidence")
    return Decision(primary.label, None, False, "cascade", [policy.primary], "review", "no_confidence", [])


def average(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    """The geometric mean of two distributions over the same labels, normalised: softmax of the mean log p.

    Source: logarithmic opinion pool (Genest & Zidek 1986). What an engine did not list is in its answer's scores
    already, with the most that it can have.
    """
    return softmax({label: (math.log(max(p, FLOOR)) + math.log(max(b[label], FLOOR))) / 2 for label, p in a.items()})


def scaled(scores: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Temperature scaling of a distribution over labels: scores^(1/T), normalised."""
    return softmax({label: math.log(max(p, LEAST)) for label, p in scores.items()}, temperature)


def _joined(primary: Answer, fallback: Answer | None, policy: Arm) -> tuple[Mapping[str, float], list[str]]:
    """Who decides. An llm without one of the labels cannot be averaged with one that has it: the fallback replaces."""
    if fallback is None or policy.fallback is None:
        return primary.scores, [policy.primary]
    if policy.combine == "replace" or primary.scores.keys() != fallback.scores.keys():
        return fallback.scores, [policy.fallback]
    return average(primary.scores, fallback.scores), [policy.primary, policy.fallback]


def _action(
    label: str, confidence: float, calibrated: bool, mass: float, policy: Arm, labels: TaxonomyField
) -> tuple[str, str]:
    """Review what is not known well; automate only what the label allows; suggest the rest."""
    if not calibrated:
        return "review", "uncalibrated"
    if label == OTHER:
        return "review", "other"
    if confidence < policy.escalate_below:
        return "review", "low_confidence"
    found = labels.label(label)
    threshold = found.automate_at if found is not None else None
    if threshold is None:
        return "suggest", "no_threshold"
    return (
        ("automate", "above_threshold")
        if confidence >= threshold and mass >= MASS_FLOOR
        else ("suggest", "below_threshold")
    )
