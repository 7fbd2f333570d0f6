"""A temperature for each field of a loaded llm, from labelled tickets. Used by evaluate and calibrate."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.errors import InvalidRequest
from models.evaluation import temperature
from models.evaluation.answered import Answered
from models.evaluation.temperature import ENOUGH, Fit
from models.llm.calibration import Calibration
from models.llm.card import Card
from models.taxonomy import Taxonomy
from service.cli.asking import ask
from service.cli.common import say
from service.cli.labelled import Labelled
from service.config import Arm
from workers.cascade import LEAST
from workers.llms import Llms


@dataclass(frozen=True)
class Recalibrated:
    """One field's fit, and the calibration it makes where unseen rows confirm it."""

    fit: Fit
    made: Calibration | None


def recalibrate(
    llms: Llms, name: str, taxonomy: Taxonomy, rows: Sequence[Labelled], data: str
) -> dict[str, Recalibrated]:
    """Fits each field that the rows have labels of, and has the llm use what is accepted; `data` is the rows' SHA-256.

    What is refused leaves the llm as it was. Raises InvalidRequest for fewer than 100 rows.
    """
    llm = llms.all[name]
    card = llm.card
    assert card is not None  # noqa: S101 (it is loaded)
    codes = {f: {label.id: card.codes[f][label.id] for label in one.labels} for f, one in taxonomy.fields_.items()}
    llm.card = replace(card, calibration={})
    asked = ask(llms, Arm(primary=name), taxonomy, rows, f"Calibrating {name}")
    found = {}
    for field in taxonomy.fields_:
        inside = asked.columns(taxonomy, field, 1.0).inside()
        if not inside.scored:
            raise InvalidRequest(f"The llm {name} does not say how sure it is: there is nothing to calibrate.")
        fit = fitted(inside, f"{name}, field {field}")
        calibration = Calibration(
            fit.temperature, _id(card, llm.engine.kind, field, codes[field], fit, data), fit.n, "fitted"
        )
        found[field] = Recalibrated(fit, calibration if fit.accepted else None)
    made = {field: one.made for field, one in found.items() if one.made is not None}
    kept = {
        field: one
        for field, one in card.calibration.items()
        if codes.get(field, card.codes[field]) == card.codes[field]
    }
    llm.card = replace(card, calibration=kept | made, codes={**card.codes, **codes})
    return found


def fitted(inside: Answered, what: str) -> Fit:
    """The temperature of these rows; `what` names them where they are too few."""
    try:
        found = temperature.fit(np.log(np.maximum(inside.scores, LEAST)), inside.truth)
    except InvalidRequest as error:
        raise InvalidRequest(f"{what}: {error.message}.") from None
    if found.n < ENOUGH:
        say(f"{what}: {found.n} tickets make a rough temperature; {ENOUGH} or more are better.")
    return found


def _id(card: Card, engine: str, field: str, codes: dict[str, str], fit: Fit, data: str) -> str:
    """Names everything that the temperature belongs to; another prompt, code or file makes another id."""
    key = json.dumps([card.digest, engine, card.prompt_version, field, codes, data], sort_keys=True)
    return f"{card.digest[:8]}-{field}-{fit.n}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
