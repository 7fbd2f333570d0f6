"""Raw log-probabilities of codes -> an Answer: label, calibrated confidence, mass, margin, entropy.

Called by workers and finetune. Pure.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from models.errors import EngineError

# llama.cpp writes an underflown log-probability as the lowest float32 instead of -inf.
_LOWEST = -1e30
# Log-probabilities come as float32, so a sum of them is no surer than this.
_NOISE = 1e-6
ROUNDING = 1e-3  # a log-probability may exceed 0 by so much; NaN fails the comparison


@dataclass(frozen=True)
class Answer:
    """What one llm says of one field. `scores` and the confidences are probabilities over all labels of the field.

    label_mass is the raw probability that the next token is any code at all, as far as codes were listed; `complete` is
    whether all were. entropy is in nats, of `scores`. An llm that only chose a label has no scores, and None for how
    sure it is.
    """

    label: str
    confidence: float | None
    raw_confidence: float | None
    label_mass: float | None
    margin: float | None
    entropy: float | None
    scores: Mapping[str, float]
    complete: bool
    calibrated: bool


def answer(
    logprobs: Mapping[str, float],
    codes: Mapping[str, str],
    temperature: float | None,
    bounds: Mapping[str, float] | None = None,
    prior: Mapping[str, float] | None = None,
) -> Answer:
    """Reads the raw `logprobs` (by code) with a field's `codes` (label -> code).

    Scores are softmax(logp / T) over the labels, temperature scaling as in Guo et al. 2017, "On Calibration of Modern
    Neural Networks", eq. 9: log-probabilities differ from logits by one constant, which softmax ignores. Without a
    temperature T is 1 and `calibrated` false. A missing label counts as in `filled`; if all miss, EngineError.
    A `prior` (label -> its mean logp over a batch of tickets) is taken off first: batch calibration, Zhou et al. 2023.
    """
    known = listed(logprobs, codes.values())
    by_code = filled(logprobs, codes.values(), bounds)
    raw = {label: by_code[code] for label, code in codes.items()}
    plain = softmax(raw)
    seen = [label for label, code in codes.items() if code in known]
    scores = plain
    if prior or temperature is not None:
        scores = softmax(_without(prior, raw, seen) if prior else raw, temperature or 1.0)
    # Sorting keeps the order of what is as likely: a label that was listed goes before one that was not.
    ranked = sorted(dict.fromkeys([*seen, *raw]), key=scores.__getitem__, reverse=True)
    best = ranked[0]
    return Answer(
        label=best,
        confidence=scores[best],
        raw_confidence=plain[best],
        label_mass=min(1.0, mass(known)),
        margin=scores[best] - (scores[ranked[1]] if len(ranked) > 1 else 0.0),
        entropy=max(0.0, -math.fsum(p * math.log(p) for p in scores.values() if p > 0)),
        scores=scores,
        complete=len(known) == len(codes),
        calibrated=temperature is not None,
    )


def _without(prior: Mapping[str, float], raw: Mapping[str, float], seen: Collection[str]) -> dict[str, float]:
    """`raw` less the prior. A label that was not listed stays below those that were, however rare it is elsewhere."""
    found = {label: value - prior.get(label, 0.0) for label, value in raw.items()}
    least = min(found[label] for label in seen)
    return {label: value if label in seen else min(value, least) for label, value in found.items()}


def chosen(code: str, codes: Mapping[str, str]) -> Answer:
    """The answer of an llm without log-probabilities: one of the field's `codes`, and nothing made up beside it."""
    label = next((label for label, one in codes.items() if one == code), None)
    if label is None:
        raise EngineError("The llm answered with no label of this field.")
    return Answer(label, None, None, None, None, None, {}, complete=False, calibrated=False)


def listed(logprobs: Mapping[str, float], codes: Iterable[str]) -> dict[str, float]:
    """The `logprobs` of those codes that have one."""
    given = ((code, logprobs.get(code)) for code in codes)
    # A log-probability may exceed 0 by rounding only; NaN fails both comparisons.
    return {code: value for code, value in given if value is not None and _LOWEST < value < ROUNDING}


def filled(
    logprobs: Mapping[str, float], codes: Collection[str], bounds: Mapping[str, float] | None = None
) -> dict[str, float]:
    """A log-probability for each code: a missing one has the most that it can have, from the engine or from the others.

    Raises EngineError when none was listed.
    """
    known = listed(logprobs, codes)
    if not known:
        raise EngineError("The llm gave no log-probability for any label of this field.")
    missing = [code for code in codes if code not in known]
    if not missing:
        return known
    given = bounds or {}
    return known | bounded(known.values(), missing) | {code: given[code] for code in missing if code in given}


def bounded(values: Iterable[float], missing: Collection[str]) -> dict[str, float]:
    """missing code -> the most that its log-probability can be beside the `values` of all that an engine listed.

    That is the last one listed, or an even share of what the listed leave, if that is less.
    """
    known = [value for value in values if value < ROUNDING]
    if not known or not missing:
        return {}
    rest = max(_NOISE, 1 - math.fsum(math.exp(value) for value in known))
    return dict.fromkeys(missing, min(*known, math.log(rest / len(missing))))


def mass(logprobs: Mapping[str, float]) -> float:
    """The probability of all of them together."""
    return math.fsum(map(math.exp, logprobs.values()))


def softmax(values: Mapping[str, float], temperature: float = 1.0) -> dict[str, float]:
    """Probabilities from log-probabilities, or from anything that differs from those by one constant."""
    top = max(values.values())
    weights = {label: math.exp((value - top) / temperature) for label, value in values.items()}
    total = math.fsum(weights.values())
    return {label: weight / total for label, weight in weights.items()}
