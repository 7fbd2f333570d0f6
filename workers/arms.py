"""Who serves a ticket: the arm it was assigned to, or the policy where that arm cannot answer. Called by drain."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from models.errors import EngineDown, EngineError
from models.taxonomy import Taxonomy
from service.config import Config
from service.experiments import assignment
from workers.claim import Claimed
from workers.classify import SILENT, FieldOutcome, classify
from workers.llms import Llms


@dataclass(frozen=True, slots=True)
class Served:
    """A ticket's outcome, field by field, and the arm that really decided; None is the policy."""

    fields: dict[str, FieldOutcome]
    arm: str | None = None

    @property
    def asked(self) -> bool:
        """Whether any llm was."""
        return any(outcome.said for outcome in self.fields.values())


def serve(llms: Llms, config: Config, taxonomy: Taxonomy, ticket: Claimed) -> Served:
    """Decides a ticket as it was drawn at intake; raises why, when nobody can answer."""
    experiment = assignment.drawn(config, ticket.experiment)
    shadow = experiment.compared if ticket.shadow else []
    given = (llms, taxonomy, ticket.subject, ticket.body, shadow)
    policy = partial(classify, config.policy, *given)
    arm = experiment.policy(ticket.arm)
    if arm is None:
        return Served(policy())
    try:
        return Served(classify(arm, *given), ticket.arm)
    except SILENT as error:
        return Served(_instead(policy, error))


def _instead(policy: Callable[..., dict[str, FieldOutcome]], silent: Exception) -> dict[str, FieldOutcome]:
    """The policy's outcome where an arm is silent. As in a policy, one that is away may answer what another refuses."""
    try:
        return policy(reason="failure")
    except EngineError as error:
        if isinstance(silent, EngineDown) and not isinstance(error, EngineDown):
            raise silent from None
        raise
