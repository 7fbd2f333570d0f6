"""From a ticket's text to its outcome, field by field. Used by drain and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.errors import ConfigError, EngineDown, EngineError
from models.llm.answer import Answer
from models.llm.policy import Temperatures
from models.llm.text import Prepared, whole
from models.taxonomy import Taxonomy, TaxonomyField
from service.config import Arm, PolicyConfig
from workers.cascade import EMPTY, Decision, decide, escalates, stand_in
from workers.llms import Llms
from workers.opinion import Opinion

SILENT = (EngineError, ConfigError)
"""What an llm raises that cannot answer, for a reason that another llm need not share."""


@dataclass(frozen=True, slots=True)
class Said:
    """One opinion, the part it plays, and why this llm was asked: assigned, shadow, escalated or failure.

    Only `assigned` and `shadow` say nothing about the ticket's text, so only these may be compared.
    """

    opinion: Opinion
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class FieldOutcome:
    """The decision for one field and every opinion on the way."""

    decision: Decision
    said: list[Said] = field(default_factory=list)


def classify(
    policy: Arm,
    llms: Llms,
    taxonomy: Taxonomy,
    subject: str,
    body: str,
    shadow: Sequence[str] = (),
    *,
    reason: str = "assigned",
) -> dict[str, FieldOutcome]:
    """Every field of a ticket decided. The llms in `shadow` give an opinion in any case.

    `reason` is why the primary is asked. Raises what it raises, when nobody can stand in for it.
    """
    text = whole(subject, body)
    if not text.text:
        return {name: FieldOutcome(EMPTY) for name in taxonomy.fields_}
    return {name: _Case(llms, policy, shadow, text, name, f).decided(reason) for name, f in taxonomy.fields_.items()}


@dataclass(frozen=True, slots=True)
class _Case:
    """One field of one ticket, and who may be asked about it."""

    llms: Llms
    policy: Arm
    shadow: Sequence[str]
    text: Prepared
    name: str
    labels: TaxonomyField
    asked: set[str] = field(default_factory=set)
    away: list[EngineDown] = field(default_factory=list)

    def decided(self, reason: str) -> FieldOutcome:
        try:
            primary = self._ask(self.policy.primary)
        except SILENT as error:
            return self._without_primary(error)
        said = [Said(primary, "primary", self._why(self.policy.primary, reason))]
        fallback = self._fallback(said, "escalated") if escalates(primary.answer, self.policy) else None
        decision = decide(primary.answer, fallback, self.policy, self.labels, self._own())
        return FieldOutcome(decision, said + self._shadows())

    def _own(self) -> Temperatures:
        """The policy's own calibration of this field, for the llms as they are loaded now."""
        cards = [self.llms.all[llm].card if llm else None for llm in (self.policy.primary, self.policy.fallback)]
        return self.llms.calibrations.of(self.policy, cards, self.name, self.labels)

    def _without_primary(self, error: Exception) -> FieldOutcome:
        """The fallback alone decides, so that one llm's absence does not stop the queue."""
        said: list[Said] = []
        fallback = self._fallback(said, "failure")
        if fallback is None:
            return self._last_resort(error)
        return FieldOutcome(stand_in(fallback, self.policy, self.labels), said + self._shadows())

    def _last_resort(self, error: Exception) -> FieldOutcome:
        """Only the policy has one: an arm that cannot answer leaves its tickets to the policy."""
        name = self.policy.last_resort if isinstance(self.policy, PolicyConfig) else None
        opinion = None if name is None else self._try(name)
        if name is None or opinion is None:
            # Who is away may answer what the primary refuses: until then nothing is held against the ticket.
            raise self.away[0] if self.away and not isinstance(error, EngineDown) else error
        said = Said(opinion, "last_resort", self._why(name, "failure"))
        return FieldOutcome(stand_in(opinion.answer, self.policy, self.labels, name), [said, *self._shadows()])

    def _fallback(self, said: list[Said], reason: str) -> Answer | None:
        """The fallback's answer, noted in `said`."""
        name = self.policy.fallback
        opinion = None if name is None else self._try(name)
        if name is None or opinion is None:
            return None
        said.append(Said(opinion, "fallback", self._why(name, reason)))
        return opinion.answer

    def _why(self, llm: str, reason: str) -> str:
        """An answer that the coin asked for is a shadow, also where it was needed besides."""
        return "shadow" if llm in self.shadow and reason != "assigned" else reason

    def _shadows(self) -> list[Said]:
        """Opinions that the decision does not look at, of those that were not asked yet."""
        opinions = (self._try(name) for name in self.shadow if name not in self.asked)
        return [Said(opinion, "shadow", "shadow") for opinion in opinions if opinion is not None]

    def _ask(self, llm: str) -> Opinion:
        self.asked.add(llm)
        asked = self.llms.all[llm]
        try:
            opinion = asked.ask(self.text, self.name, self.labels)
        except SILENT as error:
            asked.silent(error)
            raise
        asked.silent(None)
        return opinion

    def _try(self, llm: str) -> Opinion | None:
        """The opinion of an llm whose silence must not cost the ticket."""
        try:
            return self._ask(llm)
        except EngineDown as error:
            self.away.append(error)
        except SILENT:
            pass
        return None
