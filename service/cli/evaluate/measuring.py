"""Llms and policies on labelled tickets -> the results that `evaluate` writes. Needs engines and numpy."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from models.errors import ConfigError, InvalidRequest
from models.evaluation.figures import figures
from models.llm.calibration import CALIBRATED, UNCALIBRATED, Calibration
from models.taxonomy import Taxonomy
from service.cli.calibrate.fitting import Recalibrated, recalibrate
from service.cli.evaluate.asking import Asked, ask
from service.cli.evaluate.labelled import OUTSIDE, Labelled
from service.config import Arm
from workers.llm import Llm
from workers.llms import Llms
from workers.pins import pin_of

Fits = dict[str, dict[str, Recalibrated]]


@dataclass(frozen=True)
class Measured:
    """What one evaluation is over."""

    taxonomy: Taxonomy
    rows: list[Labelled]
    targets: Sequence[float]
    seed: int


def part(taxonomy: Taxonomy, rows: Sequence[Labelled]) -> Taxonomy:
    """The fields that the rows have labels of: nobody needs to be asked the others."""
    known = {name: {row.labels.get(name) for row in rows} for name in taxonomy.fields_}
    fields = {
        name: one for name, one in taxonomy.fields_.items() if any(label.id in known[name] for label in one.labels)
    }
    if not fields:
        raise InvalidRequest("No ticket has a label of the taxonomy.")
    return taxonomy.model_copy(update={"fields_": fields})


def refuse_untrained(llms: Llms, taxonomy: Taxonomy) -> None:
    """ConfigError where an llm has no code for a label that will be asked."""
    for llm in llms.all.values():
        lacks = llm.lacks(taxonomy)
        if lacks is not None:
            raise ConfigError(lacks)


def untrained(llms: Llms, arms: Mapping[str, Arm], taxonomy: Taxonomy) -> dict[str, str]:
    """Who of the arms cannot answer, and why; ConfigError where nobody can."""
    lacks = {name: [why for llm in arm.llms if (why := llms.all[llm].lacks(taxonomy))] for name, arm in arms.items()}
    found = {name: whys[0] for name, whys in lacks.items() if whys}
    if len(found) == len(arms):
        raise ConfigError(" ".join(dict.fromkeys(found.values())))
    return found


def refit(llms: Llms, names: Iterable[str], taxonomy: Taxonomy, rows: Sequence[Labelled], data: str) -> Fits:
    """These llms with temperatures from these rows, for this evaluation."""
    return {name: recalibrate(llms, name, part(taxonomy, rows), rows, data) for name in names}


def measure(llms: Llms, name: str, arm: Arm, over: Measured, fits: Fits) -> list[dict[str, Any]]:
    """One result for each field; `name` is what the reader knows the arm by."""
    asked = ask(llms, arm, over.taxonomy, over.rows, f"Asking {name}")
    return [_result(llms, name, arm, field, asked, over, fits) for field in over.taxonomy.fields_]


def _result(llms: Llms, name: str, arm: Arm, field: str, asked: Asked, over: Measured, fits: Fits) -> dict[str, Any]:
    alone = llms.all[arm.primary] if arm.fallback is None else None
    fit = alone.fit(field, over.taxonomy.fields_[field]) if alone else None
    answered = asked.columns(over.taxonomy, field, fit)
    found = figures(answered, OUTSIDE, over.targets, over.seed)
    own = {} if alone else {"own": asked.temperatures(field)}
    return {
        "llm": name,
        "field": field,
        **found,
        "tickets_per_s": len(asked.rows) / asked.seconds,
        "unanswered": asked.unanswered(field),
        "calibration": _calibration(fit, asked.calibrated(field) / len(answered.truth))
        | _refit(fits, arm, field)
        | own,
        "policy": None if alone else arm.model_dump(include=set(Arm.model_fields)),
        "pins": [_pin(llms.all[llm], field) for llm in arm.llms],
    }


def uncalibrated(llms: Llms, names: Iterable[str], taxonomy: Taxonomy) -> list[str]:
    """Why calibrations that these llms have do not count."""
    states = [state for name in names for state in llms.all[name].calibrated(taxonomy).values()]
    return [state["why"] for state in states if state["why"]]


def _calibration(fit: Calibration | None, share: float) -> dict[str, Any]:
    """`share` is that of the decisions which count as calibrated: of a policy, perhaps not the escalated ones."""
    less = fit.state if fit is not None and not share else UNCALIBRATED
    state = CALIBRATED if share == 1 else f"partly {CALIBRATED}" if share else less
    beta = 1 / fit.temperature if fit is not None and fit.temperature is not None else None
    return {"state": state, "id": fit.id if fit else None, "n": fit.n if fit else None, "beta": beta, "share": share}


def _refit(fits: Fits, arm: Arm, field: str) -> dict[str, Any]:
    """What --calibrate found for each llm of the arm: negative log-likelihood before and after, on unseen rows."""
    found = {llm: fits[llm][field] for llm in arm.llms if field in fits.get(llm, {})}
    fitted = {llm: one.fit for llm, one in found.items() if one.fit is not None}
    return {"refit": {llm: asdict(fit) | {"accepted": fit.accepted} for llm, fit in fitted.items()}}


def _pin(llm: Llm, field: str) -> dict[str, Any]:
    """Exactly what was asked: weights, engine, prompt and codes."""
    assert llm.card is not None  # noqa: S101 (it is loaded)
    codes = json.dumps(llm.card.codes.get(field, {}), sort_keys=True)
    prompt = files("models.llm") / "prompts" / f"{llm.card.prompt_version}.txt"
    return asdict(pin_of(llm.card, llm.engine)) | {
        "prompt_sha256": hashlib.sha256(prompt.read_bytes()).hexdigest() if prompt.is_file() else None,
        "codes_sha256": hashlib.sha256(codes.encode()).hexdigest(),
    }
