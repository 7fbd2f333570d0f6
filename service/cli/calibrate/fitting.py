"""A prior and a temperature for each field of a loaded llm, from tickets. Used by evaluate and calibrate."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from models.errors import InvalidRequest
from models.evaluation import temperature
from models.evaluation.answered import Answered
from models.evaluation.temperature import ENOUGH, FEWEST, Fit
from models.llm.calibration import Calibration
from models.llm.calibration_key import key_of, scored_by
from models.llm.card import Card
from models.taxonomy import Taxonomy
from service.cli.common import say
from service.cli.evaluate.asking import Asked, ask
from service.cli.evaluate.labelled import Labelled
from service.config import Arm
from workers.cascade import LEAST
from workers.llm import Llm
from workers.llms import Llms


@dataclass(frozen=True)
class Recalibrated:
    """One field's fit, if there were labels for one, and the calibration that is made where unseen rows confirm it."""

    fit: Fit | None
    made: Calibration | None


def recalibrate(
    llms: Llms, name: str, taxonomy: Taxonomy, rows: Sequence[Labelled], data: str
) -> dict[str, Recalibrated]:
    """Fits each field of the taxonomy, and has the llm use what is accepted; `data` is the rows' SHA-256.

    What is refused leaves the llm as it was. Raises InvalidRequest for fewer than 100 rows.
    """
    llm = llms.all[name]
    card = llm.card
    assert card is not None  # noqa: S101 (it is loaded)
    codes = {f: {label.id: card.codes[f][label.id] for label in one.labels} for f, one in taxonomy.fields_.items()}
    llm.card = own = replace(card, calibration={}, codes={**card.codes, **codes})
    priors = _priors(llms, llm, taxonomy, rows, data) if zero_shot(card) else {}
    llm.card = replace(own, calibration=priors)
    asked = ask(llms, Arm(primary=name), taxonomy, [row for row in rows if row.labels], f"Calibrating {name}")
    found = {field: _field(llm, asked, taxonomy, field, data) for field in taxonomy.fields_}
    made = {field: one.made for field, one in found.items() if one.made is not None}
    kept = {field: one for field, one in card.calibration.items() if own.codes[field] == card.codes[field]}
    llm.card = replace(own, calibration=kept | made)
    llm.refused = {field: why for field, why in llm.refused.items() if field not in made}
    return found


def zero_shot(card: Card) -> bool:
    """Whether the prompt tells the labels, for want of training on them: only then is there a bias to take off."""
    return card.header != ""


def fitted(inside: Answered, what: str) -> Fit:
    """The temperature of these rows; `what` names them where they are too few."""
    try:
        found = temperature.fit(np.log(np.maximum(inside.scores, LEAST)), inside.truth)
    except InvalidRequest as error:
        raise InvalidRequest(f"{what}: {error.message}.") from None
    if found.n < ENOUGH:
        say(f"{what}: {found.n} tickets make a rough temperature; {ENOUGH} or more are better.")
    return found


def prior_of(logs: np.ndarray, what: str) -> np.ndarray:
    """The mean log-probability of each label over a batch of tickets of any labels; raises InvalidRequest for too few.

    Batch calibration (Zhou et al. 2023, "Batch Calibration: Rethinking Calibration for In-Context Learning and Prompt
    Engineering", arXiv 2309.17249, section 3): score_k = log p_k - mean over the batch of log p_k. What an llm prefers
    whatever the ticket says, such as the code that comes first, is in that mean, estimated from real tickets.
    """
    if len(logs) < FEWEST:
        raise InvalidRequest(f"{what}: a prior needs at least {FEWEST} tickets, and these are {len(logs)}.")
    if len(logs) < ENOUGH:
        say(f"{what}: {len(logs)} tickets make a rough prior; {ENOUGH} or more are better.")
    found: np.ndarray = logs.mean(axis=0).round(4)
    return found


def _priors(llms: Llms, llm: Llm, taxonomy: Taxonomy, rows: Sequence[Labelled], data: str) -> dict[str, Calibration]:
    """field -> the calibration that is a prior alone; the tickets need no labels."""
    asked = ask(llms, Arm(primary=llm.name), taxonomy, rows, f"What {llm.name} prefers")
    found = {}
    for field, labels in taxonomy.fields_.items():
        logs = asked.logs(taxonomy, field)
        if not len(logs):
            raise _mute(llm)
        prior = prior_of(logs, f"{llm.name}, field {field}").tolist()
        by_label = {label.id: value for label, value in zip(labels.labels, prior, strict=True)}
        found[field] = _made(llm, field, None, len(logs), by_label, data)
    return found


def _field(llm: Llm, asked: Asked, taxonomy: Taxonomy, field: str, data: str) -> Recalibrated:
    """The temperature, over the prior that the llm is asked with; the prior alone where no temperature is accepted."""
    what = f"{llm.name}, field {field}"
    prior = llm.card.calibration.get(field) if llm.card is not None else None
    labelled = sum(field in row.labels for row in asked.rows)
    if prior is not None and labelled < FEWEST:
        say(f"{what}: a temperature needs at least {FEWEST} labelled tickets, and these are {labelled}.")
        return Recalibrated(None, prior)
    inside = asked.columns(taxonomy, field, prior).inside()
    if not inside.scored:
        raise _mute(llm)
    fit = fitted(inside, what)
    by_label = prior.prior if prior is not None else {}
    return Recalibrated(fit, _made(llm, field, fit.temperature, fit.n, by_label, data) if fit.accepted else prior)


def _mute(llm: Llm) -> InvalidRequest:
    return InvalidRequest(f"The llm {llm.name} does not say how sure it is: there is nothing to calibrate.")


def _made(
    llm: Llm, field: str, temperature: float | None, n: int, prior: Mapping[str, float], data: str
) -> Calibration:
    """Its id names everything that it belongs to; another prompt, code, engine, prior or file makes another id."""
    assert llm.card is not None  # noqa: S101 (it is loaded)
    key = key_of(llm.card, scored_by(llm.engine.kind, llm.engine.version, llm.card.served), field)
    of = json.dumps([asdict(key), prior, data], sort_keys=True)
    name = f"{key.weights[:8]}-{field}-{n}-{hashlib.sha256(of.encode()).hexdigest()[:8]}"
    return Calibration(temperature, name, n, key, prior)
