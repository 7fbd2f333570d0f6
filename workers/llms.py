"""The llms of this worker, each behind its engine: which are loaded, and their rows. Called by `classify`."""

import ipaddress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy.orm import Session

from models.errors import TriageError
from models.taxonomy import Taxonomy
from service.config import SERVERS, EngineConfig
from service.settings import Loaded
from workers import building
from workers.calibrations import Calibrations
from workers.engines.base import Engine
from workers.figures import Figures
from workers.llm import Llm
from workers.pins import Pin, pin_of
from workers.spend import Spend
from workers.untrained import Untrained

log = structlog.get_logger()


class Llms:
    """The llms of these names, each behind its engine; `load` may be called again and again until all are there."""

    def __init__(self, loaded: Loaded, names: list[str], sockets: Path):
        wanted = {name: loaded.config.llms[name] for name in names}
        engines: dict[str, Engine] = {}
        spends: dict[str, Spend] = {}
        for name in {llm.engine for llm in wanted.values()}:
            config = loaded.config.engines[name]
            models = {n: llm.model for n, llm in wanted.items() if llm.engine == name}
            engines[name] = building.build(config, models, sockets, self._billed)
            if config.spend_limit_per_day is not None:
                spends[name] = Spend(name, config.spend_limit_per_day, list(models))
        self.tried = False
        self.leaves = any(_elsewhere(loaded.config.engines[llm.engine]) for llm in wanted.values())
        self.spends = list(spends.values())
        self.engines = list(engines.values())
        self.figures = Figures()
        self.calibrations = Calibrations(loaded.folder)
        self.parallel = max(engine.parallel for engine in self.engines)
        self.all = {
            n: Llm(
                n,
                loaded.model_path(n),
                engines[llm.engine],
                self.figures,
                building.price_of(n, llm, loaded.config.engines[llm.engine]),
                spends.get(llm.engine),
                _untrained(loaded, n),
            )
            for n, llm in wanted.items()
        }

    def load(self, taxonomy: Taxonomy | None = None) -> bool:
        """Loads and warms what is missing; whether all are ready. Those that are `untrained` need the `taxonomy`.

        An engine may have lost what was ready before; it is asked each time, and gives it back at once if not.
        """
        for llm in self.all.values():
            _load(llm, taxonomy)
        self.tried = True
        return all(llm.error is None for llm in self.all.values())

    def _billed(self, name: str, prompt_tokens: int | None, completion_tokens: int | None) -> None:
        self.all[name].billed(prompt_tokens, completion_tokens)

    @property
    def untrained(self) -> bool:
        """Whether any of them has to be told the labels."""
        return any(llm.untrained is not None for llm in self.all.values())

    def behind(self, taxonomy: Taxonomy) -> bool:
        """Whether any of them is still to be told this taxonomy."""
        return any(llm.behind(taxonomy) for llm in self.all.values())

    def ready(self) -> bool:
        """Whether any ticket can be classified now: not before each llm was loaded once, or could not be."""
        return self.tried and any(llm.error is None and not _hangs(llm) for llm in self.all.values())

    def pins(self) -> list[Pin]:
        """What is loaded now."""
        return [pin_of(llm.card, llm.engine) for llm in self.all.values() if llm.card is not None and not llm.error]

    def state(self, taxonomy: Taxonomy) -> dict[str, dict[str, Any]]:
        """What keeps each llm from answering: it is not loaded, was not trained on a label in force, or fails.

        And how far its confidence can be believed, field by field.
        """
        return {name: _state(llm, taxonomy) for name, llm in self.all.items()}

    def read_spend(self, session: Session) -> None:
        """What the llms of all workers have cost today, from the tables."""
        for spend in self.spends:
            spend.read(session)

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


def _load(llm: Llm, taxonomy: Taxonomy | None) -> None:
    """What keeps one from being loaded is its own, and no other waits for it."""
    try:
        llm.load(taxonomy)
    except TriageError as error:
        if llm.error != error.message:
            log.warning("llm.not_loaded", llm=llm.name, error=error.message)
        llm.error = error.message
    except Exception as error:
        llm.error = f"It could not be loaded for a reason of ours ({type(error).__name__}); the log has it."
        log.error("llm.not_loaded", llm=llm.name, error=type(error).__name__, exc_info=error)


def _elsewhere(engine: EngineConfig) -> bool:
    """Whether a text that it is asked about leaves this machine."""
    if engine.kind not in SERVERS:
        return False
    host = urlsplit(engine.url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def _hangs(llm: Llm) -> bool:
    """Inside this process only a restart mends that, and what is claimed meanwhile would be kept from other workers."""
    return llm.engine.kind == "llamacpp" and llm.breaker() is not None


def _state(llm: Llm, taxonomy: Taxonomy) -> dict[str, Any]:
    error = llm.error or llm.lacks(taxonomy)
    return {"error": error, "breaker": llm.breaker(), "calibration": {} if error else llm.calibrated(taxonomy)}


def _untrained(loaded: Loaded, name: str) -> Untrained | None:
    llm = loaded.config.llms[name]
    if llm.family is None:
        return None
    served = loaded.config.engines[llm.engine].kind in SERVERS
    calibration = loaded.folder / llm.calibration if llm.calibration else None
    return Untrained(name, llm.family, None if served else loaded.model_path(name), calibration)
