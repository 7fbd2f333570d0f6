"""The llms of this worker: their engines, their cards, whether each is loaded, and their rows. Called by `classify`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import structlog

from models.errors import ConfigError, EngineDown, TriageError
from models.llm.answer import Answer, answer
from models.llm.card import Card, load_card
from models.llm.prompt import render
from models.taxonomy import Taxonomy, TaxonomyField
from service.config import EngineConfig
from service.settings import Loaded
from workers.engines.base import Engine, Timings
from workers.engines.linear import Linear
from workers.engines.llamacpp import LlamaCpp
from workers.engines.ollama import Ollama
from workers.figures import Figures
from workers.pins import Pin, pin_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one llm said of one field, where its time went, and which pinned version it was."""

    llm: str
    answer: Answer
    timings: Timings
    pin: Pin
    scope: float | None = None


@dataclass(slots=True)
class Llm:
    """One llm of triage.yaml. It is asked only when loaded; until then `error` says what it lacks.

    `wanted` is the card as written, `card` as the engine serves it.
    """

    name: str
    path: Path
    engine: Engine
    figures: Figures
    wanted: Card | None = None
    card: Card | None = None
    error: str | None = "not loaded yet"

    def ask(self, text: str, name: str, labels: TaxonomyField) -> Opinion:
        """Scores a prepared text; raises EngineDown while not loaded, and what the engine raises."""
        if self.card is None or self.error is not None:
            raise EngineDown(f"The llm {self.name} is not loaded: {self.error}")
        codes = self._codes(self.card, name, labels)
        prompt = render(text, name, self.card.prompt_version)
        fit = self.card.calibration.get(name)
        # A temperature fitted over other labels says nothing about these.
        known = fit is not None and fit.state == "fitted" and codes.keys() == self.card.codes[name].keys()
        with self.figures.asking(self.name):
            scores = self.engine.score(self.name, prompt, list(codes.values()))
            found = answer(scores.logprobs, codes, fit.temperature if fit is not None and known else None)
        return Opinion(self.name, found, scores.timings, pin_of(self.card, self.engine), scores.scope)

    def lacks(self, taxonomy: Taxonomy) -> str | None:
        """Why this llm cannot answer every field; None when it can."""
        try:
            for name, labels in taxonomy.fields_.items():
                if self.card is not None:
                    self._codes(self.card, name, labels)
        except ConfigError as error:
            return error.message
        return None

    def _codes(self, card: Card, name: str, labels: TaxonomyField) -> dict[str, str]:
        known = card.codes.get(name, {})
        missing = [label.id for label in labels.labels if label.id not in known]
        if missing:
            raise ConfigError(
                f"The llm {self.name} was not trained on {', '.join(missing[:5])} of field {name}: "
                "change taxonomy.yaml or use another llm."
            )
        return {label.id: known[label.id] for label in labels.labels}


class Llms:
    """The llms of these names, each behind its engine; `load` may be called again and again until all are there."""

    def __init__(self, loaded: Loaded, names: list[str], sockets: Path):
        wanted = {name: loaded.config.llms[name] for name in names}
        engines: dict[str, Engine] = {}
        for name in {llm.engine for llm in wanted.values()}:
            models = {n: llm.model for n, llm in wanted.items() if llm.engine == name}
            engines[name] = build(loaded.config.engines[name], models, sockets)
        self.engines = list(engines.values())
        self.figures = Figures()
        self.parallel = max(engine.parallel for engine in self.engines)
        self.all = {n: Llm(n, loaded.model_path(n), engines[llm.engine], self.figures) for n, llm in wanted.items()}

    def load(self) -> bool:
        """Loads and warms what is missing; whether all are ready.

        An engine may have lost what was ready before; it is asked each time, and gives it back at once if not.
        """
        for llm in self.all.values():
            try:
                if llm.error is None and llm.wanted is not None and llm.engine.load(llm.wanted) == llm.card:
                    continue
                self._load(llm)
                llm.error = None
                log.info("llm.ready", llm=llm.name)
            except TriageError as error:
                if llm.error != error.message:
                    log.warning("llm.not_loaded", llm=llm.name, error=error.message)
                llm.error = error.message
        return all(llm.error is None for llm in self.all.values())

    def _load(self, llm: Llm) -> None:
        llm.wanted = dataclasses.replace(load_card(llm.path), name=llm.name)
        llm.card = llm.engine.load(llm.wanted)

    def ready(self) -> bool:
        """Whether any ticket can be classified now."""
        return any(llm.error is None for llm in self.all.values())

    def pins(self) -> list[Pin]:
        """What is loaded now."""
        return [pin_of(llm.card, llm.engine) for llm in self.all.values() if llm.card is not None and not llm.error]

    def state(self, taxonomy: Taxonomy) -> dict[str, dict[str, str | None]]:
        """What keeps each llm from answering: it is not loaded, was not trained on a label in force, or fails."""
        return {
            name: {"error": llm.error or llm.lacks(taxonomy), "breaker": llm.engine.open_breaker(name)}
            for name, llm in self.all.items()
        }

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


def build(config: EngineConfig, models: dict[str, str], sockets: Path) -> Engine:
    """The engine that triage.yaml describes; `models` says what each of its llms is called there."""
    if config.kind == "ollama":
        return Ollama(config.url, models, parallel=config.parallel)
    if config.kind == "linear":
        return Linear(parallel=config.parallel)
    return LlamaCpp(sockets, parallel=config.parallel)
