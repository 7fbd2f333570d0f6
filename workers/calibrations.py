"""Which calibrations count: those of an llm for what is served, and those that policies have of their own.

Called by llm when it loads and by classify; evaluate shows what was wrong with them.
"""

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path

import structlog

from models.errors import ConfigError
from models.llm import policy
from models.llm.calibration_key import key_of, scored_by, unsaid
from models.llm.card import Card
from models.llm.policy import NONE, PolicyCalibration, Temperatures
from models.taxonomy import TaxonomyField
from service.config import Arm
from workers.engines.base import Engine

log = structlog.get_logger()


def counting(wanted: Card, served: Card, engine: Engine) -> tuple[Card, dict[str, str]]:
    """The card as served with the calibrations of the `wanted` one that count there, and why the others do not."""
    scores = scored_by(engine.kind, engine.version, served.served)
    if wanted.calibration and unsaid(scores):
        log.warning("llm.engine_without_version", llm=wanted.name, engine=scores, why="whether it was calibrated there")
    fits = {name: fit for name, fit in wanted.calibration.items() if name in served.codes}
    checked = {name: fit.refused(key_of(served, scores, name), wanted.name) for name, fit in fits.items()}
    refused = {name: why for name, why in checked.items() if why is not None}
    for why in refused.values():
        log.warning("llm.uncalibrated", llm=wanted.name, why=why)
    counts = {name: fit for name, fit in fits.items() if name not in refused}
    return dataclasses.replace(served, calibration=counts), refused


class Calibrations:
    """Files beside triage.yaml. `problems` are sentences on those that are not used."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.problems: set[str] = set()
        self._read: dict[str, PolicyCalibration | str] = {}
        self._lock = threading.Lock()

    def of(self, arm: Arm, cards: Sequence[Card | None], name: str, labels: TaxonomyField) -> Temperatures:
        """Those for one field and the `cards` of primary and fallback; none where they are not valid."""
        if arm.calibration is None:
            return NONE
        primary, fallback = cards
        if primary is None or fallback is None:
            return NONE  # which llm will answer is not known yet
        ids = [label.id for label in labels.labels]
        now = policy.basis(primary, fallback, name, ids, arm.combine, arm.escalate_below)
        try:
            return self._file(arm.calibration).temperatures(name, now)
        except ConfigError as error:
            self._tell(arm.calibration, error.message)
            return NONE

    def _file(self, name: str) -> PolicyCalibration:
        with self._lock:
            if name not in self._read:
                self._read[name] = _read(self.folder / name)
            found = self._read[name]
        if isinstance(found, str):
            raise ConfigError(found)
        return found

    def _tell(self, name: str, why: str) -> None:
        """Once: it is the same for every ticket."""
        with self._lock:
            new = why not in self.problems
            self.problems.add(why)
        if new:
            log.warning("policy.uncalibrated", file=name, why=why)


def _read(path: Path) -> PolicyCalibration | str:
    try:
        return policy.read(path)
    except ConfigError as error:
        return error.message
