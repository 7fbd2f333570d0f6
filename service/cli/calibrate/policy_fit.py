"""calibrate --policy: temperatures for what a policy decides alone and for what it escalates. Used by calibrate."""

from pathlib import Path

from models.errors import ConfigError, InvalidRequest
from models.llm import policy
from models.llm.policy import FieldFit, Group, PolicyCalibration
from models.taxonomy import Taxonomy
from models.whole import whole
from service.cli.calibrate.fitting import fitted
from service.cli.common import say
from service.cli.evaluate.asking import Asked, ask
from service.cli.evaluate.labelled import Labelled
from service.config import Arm
from workers.classify import FieldOutcome
from workers.llms import Llms

WORDS = {"alone": "not escalated", "escalated": "escalated"}


def fit(llms: Llms, arm: Arm, taxonomy: Taxonomy, rows: list[Labelled]) -> dict[str, FieldFit]:
    """Every field for which unseen tickets confirm a temperature of one group at least."""
    plain = arm.model_copy(update={"calibration": None})
    asked = ask(llms, plain, taxonomy, rows, "Calibrating the policy")
    found = {}
    for name in taxonomy.fields_:
        groups = {group: _group(asked, taxonomy, name, group) for group in WORDS}
        if any(groups.values()):
            found[name] = FieldFit(valid_for=_basis(llms, arm, taxonomy, name), **groups)
    return found


def write(place: Path, data_sha256: str, found: dict[str, FieldFit]) -> None:
    """The file, whole or not at all; what it says of other fields stays."""
    before = policy.read(place).fields if place.is_file() else {}
    made = PolicyCalibration(data_sha256=data_sha256, fields=before | found)
    with whole(place) as part:
        part.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _basis(llms: Llms, arm: Arm, taxonomy: Taxonomy, name: str) -> policy.Basis:
    cards = [llms.all[llm].card for llm in (arm.primary, arm.fallback) if llm]
    primary, fallback = (card for card in cards if card is not None)
    ids = [label.id for label in taxonomy.fields_[name].labels]
    return policy.basis(primary, fallback, name, ids, arm.combine, arm.escalate_below)


def _group(asked: Asked, taxonomy: Taxonomy, name: str, group: str) -> Group | None:
    """The temperature of one group of tickets; None, and a sentence that says why, where it is not accepted."""
    what = f"policy, {name}, tickets that were {WORDS[group]}"
    part = asked.only(name, lambda outcome: _path(outcome) == group)
    try:
        fit = fitted(part.columns(taxonomy, name).inside(), what)
    except (InvalidRequest, ConfigError) as error:
        say(f"{error.message.rstrip('.')}: no temperature for them.")
        return None
    seen = f"NLL of unseen tickets {fit.before:.4f} before, {fit.after:.4f} after, n {fit.n}"
    if not fit.accepted:
        say(f"{what}: refused, T {fit.temperature:.3f} does not help ({seen}).")
        return None
    say(f"{what}: T {fit.temperature:.3f} ({seen}).")
    return Group(temperature=fit.temperature, n=fit.n, before=fit.before, after=fit.after)


def _path(outcome: FieldOutcome) -> str | None:
    """How a decision came about; None where somebody was missing, or said no more than a label."""
    decision, roles = outcome.decision, [said.role for said in outcome.said]
    if decision.reason == "escalated":
        return "escalated"
    unaided = roles == ["primary"] and decision.confidence is not None
    return "alone" if unaided and decision.reason != "escalated_without_fallback" else None
