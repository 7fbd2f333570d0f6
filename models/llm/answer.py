"""Raw log-probabilities of codes -> an Answer: label, calibrated confidence, mass, margin, entropy.

Called by workers and finetune. Pure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from models.errors import EngineError

# llama.cpp writes an underflown log-probability as the lowest float32 instead of -inf.
_LOWEST = -1e30


@dataclass(frozen=True)
class Answer:
    """What one llm says of one field. `scores` and the confidences are probabilities over the labels that were scored.

    label_mass is the raw probability that the next token is any code at all; entropy is in nats, of `scores`. An llm
    that only chose a label has no scores, and None for how sure it is.
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


def answer(logprobs: Mapping[str, float], codes: Mapping[str, str], temperature: float | None) -> Answer:
    """Reads the raw `logprobs` (by code) with a field's `codes` (label -> code).

    Scores are softmax(logp / T) over the labels, temperature scaling as in Guo et al. 2017, "On Calibration of Modern
    Neural Networks", eq. 9: log-probabilities differ from logits by one constant, which softmax ignores. Without a
    temperature T is 1 and `calibrated` false. A missing label only makes `complete` false; if all miss, EngineError.
    """
    raw = {label: logprobs[code] for label, code in codes.items() if _usable(logprobs.get(code))}
    if not raw:
        raise EngineError("The llm gave no log-probability for any label of this field.")
    scores = _softmax(raw, temperature or 1.0)
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    best = ranked[0]
    return Answer(
        label=best,
        confidence=scores[best],
        raw_confidence=_softmax(raw, 1.0)[best],
        label_mass=min(1.0, math.fsum(math.exp(value) for value in raw.values())),
        margin=scores[best] - (scores[ranked[1]] if len(ranked) > 1 else 0.0),
        entropy=max(0.0, -math.fsum(p * math.log(p) for p in scores.values() if p > 0)),
        scores=scores,
        complete=len(raw) == len(codes),
        calibrated=temperature is not None,
    )


def chosen(code: str, codes: Mapping[str, str]) -> Answer:
    """The answer of an llm without log-probabilities: one of the field's `codes`, and nothing made up beside it."""
    label = next((label for label, one in codes.items() if one == code), None)
    if label is None:
        raise EngineError("The llm answered with no label of this field.")
    return Answer(label, None, None, None, None, None, {}, complete=False, calibrated=False)


def _usable(value: float | None) -> bool:
    """A log-probability may exceed 0 by rounding only; NaN fails both comparisons."""
    return value is not None and _LOWEST < value < 1e-3


def _softmax(values: Mapping[str, float], temperature: float) -> dict[str, float]:
    top = max(values.values())
    weights = {label: math.exp((value - top) / temperature) for label, value in values.items()}
    total = math.fsum(weights.values())
    return {label: weight / total for label, weight in weights.items()}
