"""What one llm says of one field of labelled tickets, as figures. Used by llm verify; needs engines."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from models import metrics
from models.llm.answer import Answer, softmax
from models.llm.calibration import Calibration
from models.llm.codes import LEVELS
from models.taxonomy import Taxonomy
from service.cli.evaluate.asking import Asked, ask
from service.cli.evaluate.labelled import Labelled
from service.cli.llm.parity import Answers
from service.config import Arm
from workers.cascade import LEAST
from workers.engines.base import Engine, Scores, Timings
from workers.llms import Llms
from workers.opinion import Opinion

PARTS = ("call_ms", "slot_ms", "load_ms", "prefill_ms", "decode_ms")


@dataclass
class Listening:
    """The engine, and which codes it listed each time. Everything else is the engine's own."""

    engine: Engine
    heard: list[tuple[frozenset[str], frozenset[str]]] = field(default_factory=list)

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        scores = self.engine.score(llm, prompt, codes)
        self.heard.append((frozenset(codes), frozenset(scores.logprobs)))
        return scores

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def measure(
    llms: Llms, name: str, taxonomy: Taxonomy, field: str, rows: Sequence[Labelled]
) -> tuple[dict[str, Any], Answers]:
    """Asks the llm one field of the tickets that have a label of it: its figures, and ticket -> label -> probability.

    The probabilities are before any calibration, so that two runs compare weights and engines, not calibrations.
    """
    llm, only = llms.all[name], taxonomy.model_copy(update={"fields_": {field: taxonomy.fields_[field]}})
    wanted = [row for row in rows if field in row.labels]
    llm.engine = listening = Listening(llm.engine)
    try:
        asked = ask(llms, Arm(primary=name), only, wanted, f"Asking {name}")
    finally:
        llm.engine = listening.engine
    said = list(_opinions(asked, field))
    answers = [(row, opinion.answer) for row, opinion in said]
    labels = {label.id for label in taxonomy.fields_[field].labels}
    fit = llm.fit(field, taxonomy.fields_[field])
    figures = {
        "n": len(wanted),
        "unanswered": asked.unanswered(field),
        "codes": _listed(listening.heard, llm.card.codes.get(field, {}) if llm.card is not None else {}),
        "mass": _masses([one for _, one in answers]),
        "accuracy": _right([(row.labels[field], one) for row, one in answers if row.labels[field] in labels]),
        "calibrated": bool(answers) and all(one.calibrated for _, one in answers),
        "times": _parts([opinion.timings for _, opinion in said]),
    }
    return figures, {row.name: _raw(fit, one) for row, one in answers if one.scores}


def _opinions(asked: Asked, field: str) -> Iterator[tuple[Labelled, Opinion]]:
    for row, outcomes in zip(asked.rows, asked.outcomes, strict=True):
        if outcomes is not None and outcomes[field].said:
            yield row, outcomes[field].said[0].opinion


def _listed(heard: Sequence[tuple[frozenset[str], frozenset[str]]], codes: Mapping[str, str]) -> dict[str, Any]:
    """In how many prompts every code that was asked for came back, and how often each was missing."""
    name = _named(codes)
    missing = Counter(name(asked, code) for asked, listed in heard for code in asked - listed)
    wanted = Counter(name(asked, code) for asked, _ in heard for code in asked)
    return {
        "prompts": len(heard),
        "complete": sum(asked <= listed for asked, listed in heard),
        "missing": dict(sorted(missing.items(), key=lambda pair: (-pair[1], pair[0]))),
        "never": sorted(code for code, n in missing.items() if n == wanted[code]),
    }


def _named(codes: Mapping[str, str]) -> Callable[[frozenset[str], str], str]:
    """What people know a code by: its label, or which of the two levels it is of."""
    labels = {code: label for label, code in codes.items()}
    groups = {code.partition(LEVELS)[0] for code in labels if LEVELS in code}

    def name(asked: frozenset[str], code: str) -> str:
        if code in labels:
            return f"{code} = {labels[code]}"
        return f"group {code}" if asked == groups else f"{code} within a group"

    return name


def _masses(answers: Sequence[Answer]) -> dict[str, float | None]:
    masses = [one.label_mass for one in answers if one.label_mass is not None]
    return {"median": metrics.quantile(masses, 0.5), "p5": metrics.quantile(masses, 0.05)}


def _right(pairs: Sequence[tuple[str, Answer]]) -> dict[str, Any]:
    """Accuracy of all, calibration of those that say how sure they are."""
    hits = [truth == one.label for truth, one in pairs]
    sure = [(one.confidence, hit) for (_, one), hit in zip(pairs, hits, strict=True) if one.confidence is not None]
    ece = metrics.ece([confidence for confidence, _ in sure], [hit for _, hit in sure])
    share = metrics.proportion(sum(hits), len(hits))
    return {
        "share": asdict(share),
        "mean_confidence": metrics.mean([confidence for confidence, _ in sure]),
        "ece": None if ece is None else asdict(ece),
    }


def _parts(timings: Sequence[Timings]) -> dict[str, dict[str, float | None]]:
    """Median and 95th percentile of each part of a call that the engine reports."""
    values = {part: [ms for one in timings if (ms := getattr(one, part)) is not None] for part in PARTS}
    return {part: {"p50": metrics.quantile(ms, 0.5), "p95": metrics.quantile(ms, 0.95)} for part, ms in values.items()}


def _raw(fit: Calibration | None, answer: Answer) -> dict[str, float]:
    """The probabilities as the weights gave them: temperature and prior put back."""
    heat, prior = ((fit.temperature or 1.0), fit.prior) if fit is not None else (1.0, {})
    logs = {label: heat * math.log(max(p, LEAST)) + prior.get(label, 0.0) for label, p in answer.scores.items()}
    return {label: round(p, 6) for label, p in softmax(logs).items()}
