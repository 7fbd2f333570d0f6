"""How far an llm's confidence can be believed, told without loading it. Used by doctor and llm.

What an llm really answers with, only a worker knows, whose word GET /v1/llms carries.
"""

from contextlib import closing
from dataclasses import replace
from importlib import metadata
from typing import Any

from models.llm import calibration
from models.llm.calibration import Calibration
from models.llm.calibration_key import Key, key_of, scored_by
from models.llm.card import Card
from models.taxonomy import Taxonomy
from service.settings import Loaded

States = dict[str, dict[str, Any]]


def states(loaded: Loaded, name: str, card: Card, vocabulary: Taxonomy | None = None) -> States:
    """field -> state, of the vocabulary's fields or of the card's; raises EngineDown where a server must be asked.

    The codes of an llm that Triage did not train are not known here: what was written for it is taken to count.
    """
    if loaded.config.llms[name].family is not None:
        return {field: calibration.shown(card.calibration.get(field), None) for field in card.codes}
    served, engine = _here(loaded, name, card)
    wanted = {field: list(codes) for field, codes in card.codes.items()}
    if vocabulary is not None:
        wanted = {field: [label.id for label in one.labels] for field, one in vocabulary.fields_.items()}
    return {field: _state(name, served, engine, field, labels) for field, labels in wanted.items()}


def counting(loaded: Loaded, name: str, card: Card) -> Card:
    """The card with the calibrations that count here."""
    if loaded.config.llms[name].family is not None:
        return card
    found = states(loaded, name, card)
    fits = {field: fit for field, fit in card.calibration.items() if found[field]["why"] is None}
    return replace(_here(loaded, name, card)[0], calibration=fits)


def told(found: States) -> str:
    """In one line."""
    return "; ".join(f"{field}: {calibration.told(state)}" for field, state in found.items())


def _state(name: str, card: Card, engine: str | None, field: str, labels: list[str]) -> dict[str, Any]:
    fit = card.calibration.get(field)
    if fit is None or field not in card.codes:
        return calibration.shown(None, None)
    why = fit.refused(_now(fit, card, engine, field), name)
    if why is None and set(labels) != card.codes[field].keys():
        why = calibration.refusal(name, field, ["other labels"])
    return calibration.shown(None if why else fit, why)


def _now(fit: Calibration, card: Card, engine: str | None, field: str) -> Key:
    """What the llm is used with here, as far as that can be told; the rest is taken to be as it was.

    Only a worker asks the vocabulary of an llm that Triage did not train: its codes here are wishes.
    """
    before = fit.key
    now = key_of(card, engine or (before.engines[0] if before else ""), field)
    if before is None:
        return now
    if card.header and now.codes != before.codes and now.labels == before.labels:
        now = replace(now, header=before.header, codes=before.codes, method=before.method)
    return now if card.digest else replace(now, weights=before.weights)


def _here(loaded: Loaded, name: str, card: Card) -> tuple[Card, str | None]:
    """The card as it is served here, and by what it is scored; None where that shows only when it is asked."""
    config = loaded.config.llms[name]
    engine = loaded.config.engines[config.engine]
    if engine.kind == "ollama":
        return _in_ollama(engine.url, config.model, card)
    if engine.kind == "openai":
        return card, None
    return card, scored_by(engine.kind, metadata.version("xllamacpp"))


def _in_ollama(url: str, model: str, card: Card) -> tuple[Card, str]:
    from workers.engines.ollama_http import Server  # slow to import

    with closing(Server(url)) as server:
        engine, digest, blob = scored_by("ollama", server.version()), server.digest(model), server.blob(model)
    if digest in card.served or blob == card.digest:
        return card, engine
    return replace(card, digest=(blob or digest) if not card.digest else digest), engine
