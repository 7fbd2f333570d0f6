"""From a ticket's text to its outcome, field by field. Used by drain and the command line."""

from dataclasses import dataclass, field

import structlog

from models.errors import ConfigError, EngineError
from models.llm.text import prepare
from models.taxonomy import Taxonomy, TaxonomyField
from service.config import PolicyConfig
from workers.cascade import EMPTY, Decision, decide, escalates
from workers.llms import Llms, Opinion

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Said:
    """One opinion and the part it plays. `reason` says why this llm was asked at all."""

    opinion: Opinion
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class FieldOutcome:
    """The decision for one field and every opinion on the way."""

    decision: Decision
    said: list[Said] = field(default_factory=list)


def classify(
    llms: Llms, policy: PolicyConfig, taxonomy: Taxonomy, subject: str, body: str, *, shadow: bool
) -> dict[str, FieldOutcome]:
    """Every field of a ticket decided; raises what the primary raises, while a silent fallback shows in the reason."""
    text = prepare(subject, body).text
    if not text:
        return {name: FieldOutcome(EMPTY) for name in taxonomy.fields_}
    return {name: _field(llms, policy, text, name, f, shadow) for name, f in taxonomy.fields_.items()}


def _field(llms: Llms, policy: PolicyConfig, text: str, name: str, labels: TaxonomyField, shadow: bool) -> FieldOutcome:
    primary = llms.all[policy.primary].ask(text, name, labels)
    said = [Said(primary, "primary", "assigned")]
    hard = escalates(primary.answer, policy)
    second = _second(llms, policy, text, name, labels) if hard or shadow else None
    if second is not None:
        said.append(Said(second, "fallback", "escalated") if hard else Said(second, "shadow", "shadow"))
    fallback = second.answer if second is not None and hard else None
    return FieldOutcome(decide(primary.answer, fallback, policy, labels), said)


def _second(llms: Llms, policy: PolicyConfig, text: str, name: str, labels: TaxonomyField) -> Opinion | None:
    """The fallback's opinion; None when there is no fallback or it cannot answer, which must not cost the ticket."""
    if policy.fallback is None:
        return None
    try:
        return llms.all[policy.fallback].ask(text, name, labels)
    except (EngineError, ConfigError) as error:
        log.warning("fallback.silent", kind=type(error).__name__)
        return None
