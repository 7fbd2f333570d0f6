"""The calibrations that policies have of their own: each file read once, and used while it is valid.

Called by classify; evaluate shows what was wrong with them.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import structlog

from models.errors import ConfigError
from models.llm import policy
from models.llm.card import Card
from models.llm.policy import NONE, PolicyCalibration, Temperatures
from models.taxonomy import TaxonomyField
from service.config import Arm

log = structlog.get_logger()


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
