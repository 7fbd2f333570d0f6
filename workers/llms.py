"""The llms of this worker: their engines, their cards, whether each is loaded, and their rows. Called by `classify`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Engine as Database
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.db import transaction
from models.errors import ConfigError, EngineDown, TriageError
from models.llm.answer import Answer, answer
from models.llm.card import Card, load_card
from models.llm.prompt import render
from models.tables import LlmVersion
from models.taxonomy import TaxonomyField
from service.settings import Loaded, PolicyConfig
from workers.engines.base import Engine, Timings
from workers.engines.llamacpp import LlamaCpp

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one llm said of one field, where its time went, and which pinned version it was."""

    llm: str
    answer: Answer
    timings: Timings
    version_id: int | None


@dataclass(slots=True)
class Llm:
    """One llm of triage.yaml. It is asked only when loaded and pinned; until then `error` says what it lacks."""

    name: str
    path: Path
    engine: Engine
    card: Card | None = None
    version_id: int | None = None
    error: str | None = "not loaded yet"

    def ask(self, text: str, name: str, labels: TaxonomyField) -> Opinion:
        """Scores a prepared text; raises EngineDown while not loaded, and what the engine raises."""
        if self.card is None or self.error is not None:
            raise EngineDown(f"The llm {self.name} is not loaded: {self.error}")
        codes = self._codes(self.card, name, labels)
        prompt = render(text, name, self.card.prompt_version)
        scores = self.engine.score(self.name, prompt, list(codes.values()))
        fit = self.card.calibration.get(name)
        # A temperature fitted over other labels says nothing about these.
        known = fit is not None and codes.keys() == self.card.codes[name].keys()
        found = answer(scores.logprobs, codes, fit.temperature if fit is not None and known else None)
        return Opinion(self.name, found, scores.timings, self.version_id)

    def pin(self, database: Database) -> None:
        """Gives this exact combination of weights, engine, prompt and calibration its row; raises Unavailable."""
        assert self.card is not None, "only a loaded llm can be pinned"  # noqa: S101
        with transaction(database) as session:
            self.version_id = pin(session, self.card, self.engine)

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
    """All llms of the policy, each behind its engine; `load` may be called again and again until all are there."""

    def __init__(self, loaded: Loaded, policy: PolicyConfig, sockets: Path):
        engines = {name: LlamaCpp(sockets, parallel=e.parallel) for name, e in loaded.config.engines.items()}
        self.engines: list[Engine] = list(engines.values())
        self.parallel = max(engine.parallel for engine in self.engines)
        wanted = [name for name in (policy.primary, policy.fallback) if name is not None]
        self.all = {n: Llm(n, loaded.model_path(n), engines[loaded.config.llms[n].engine]) for n in wanted}

    def load(self, database: Database | None) -> bool:
        """Loads and warms what is missing and pins it in the database, if one is given; whether all are ready."""
        for llm in self.all.values():
            if llm.error is None:
                continue
            try:
                self._load(llm, database)
                llm.error = None
                log.info("llm.ready", llm=llm.name)
            except TriageError as error:
                if llm.error != error.message:
                    log.warning("llm.not_loaded", llm=llm.name, error=error.message)
                llm.error = error.message
        return all(llm.error is None for llm in self.all.values())

    def _load(self, llm: Llm, database: Database | None) -> None:
        llm.card = dataclasses.replace(load_card(llm.path), name=llm.name)
        llm.engine.load(llm.card)
        if database is not None:
            llm.pin(database)

    def ready(self) -> bool:
        """Whether any ticket can be classified now: the primary, first of all, is loaded."""
        return next(iter(self.all.values())).error is None

    def state(self) -> dict[str, dict[str, str | None]]:
        """What a heartbeat says of each llm."""
        return {name: {"error": llm.error} for name, llm in self.all.items()}

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


def pin(session: Session, card: Card, engine: Engine) -> int:
    """The id of this exact combination of weights, engine, prompt and calibration; a new row when it is new."""
    values = {
        "name": card.name,
        "digest": card.digest,
        "engine": engine.kind,
        "engine_version": engine.version,
        "prompt_version": card.prompt_version,
        "calibration_id": ",".join(fit.id for _, fit in sorted(card.calibration.items())),
        "demo": card.demo,
    }
    session.execute(insert(LlmVersion).values(values).on_conflict_do_nothing())
    same = [getattr(LlmVersion, name) == value for name, value in values.items() if name != "demo"]
    return session.scalars(select(LlmVersion.id).where(*same)).one()
