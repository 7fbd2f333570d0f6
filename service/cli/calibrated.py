"""How far an llm's confidence can be believed, told without loading it. Used by doctor and llm.

Here it is read off the card; what an llm really answers with, only a worker knows, whose word GET /v1/llms carries.
"""

from contextlib import closing
from dataclasses import replace
from importlib import metadata
from typing import Any

from models.llm import calibration
from models.llm.calibration_key import key_of, scored_by
from models.llm.card import Card
from models.taxonomy import Taxonomy
from service.settings import Loaded

States = dict[str, dict[str, Any]]


def states(loaded: Loaded, name: str, card: Card, vocabulary: Taxonomy | None = None) -> States:
    """field -> state, of the vocabulary's fields or of the card's; raises EngineDown where a server must be asked."""
    served, engine = _here(loaded, name, card)
    wanted = {field: list(codes) for field, codes in card.codes.items()}
    if vocabulary is not None:
        wanted = {field: [label.id for label in one.labels] for field, one in vocabulary.fields_.items()}
    return {field: _state(name, served, engine, field, labels) for field, labels in wanted.items()}


def counting(loaded: Loaded, name: str, card: Card) -> Card:
    """The card with the calibrations that count here."""
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
    asked = engine or (fit.key.engines[0] if fit.key else "")
    why = fit.refused(key_of(card, asked, field), name)
    if why is None and set(labels) != card.codes[field].keys():
        why = calibration.refusal(name, field, ["other labels"])
    return calibration.shown(None if why else fit, why)


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
        engine, digest = scored_by("ollama", server.version()), server.digest(model)
        known = digest in card.served or server.blob(model) == card.digest
    return card if known else replace(card, digest=digest), engine
