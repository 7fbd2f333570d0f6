"""An llm that was not trained on our prompts, and its card for the taxonomy in force. Called by `llm`."""

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from models.errors import ConfigError, EngineDown
from models.llm import zero_shot
from models.llm.calibration import read
from models.llm.card import Card, sha256
from models.taxonomy import Taxonomy
from workers.engines.base import Engine

AGAIN_S = 30.0
"""So long a model without enough codes is not asked again for its vocabulary, which is megabytes."""

Key = tuple[Taxonomy, str]


@dataclass(slots=True)
class Untrained:
    """What triage.yaml says of it. `path` is the GGUF; None where a server holds the weights and says which."""

    name: str
    family: str
    path: Path | None = None
    calibration: Path | None = None
    _made: tuple[Key, Card] | None = None
    _refused: tuple[Key, str, float] | None = None
    _digest: dict[tuple[int, ...], str] = field(default_factory=dict)

    def card(self, engine: Engine, taxonomy: Taxonomy) -> Card:
        """The same for the same taxonomy and file, until it is forgotten, with the calibration that is in its file now.

        Raises ConfigError, or EngineDown. Whoever mends the model is believed after a while.
        """
        key = taxonomy, self._hashed(self.path) if self.path else ""
        if self._made is None or self._made[0] != key:
            self._made = key, self._new(engine, key)
        found = self._made[1]
        return replace(found, calibration=read(self.calibration)) if self.calibration is not None else found

    def forget(self) -> None:
        """The weights are others now, perhaps with another vocabulary."""
        self._made = self._refused = None

    def _new(self, engine: Engine, key: Key) -> Card:
        if self._refused is not None and self._refused[0] == key and time.monotonic() - self._refused[2] < AGAIN_S:
            raise ConfigError(self._refused[1])
        try:
            return self._asked(engine, *key)
        except ConfigError as error:
            self._refused = key, error.message, time.monotonic()
            raise

    def _asked(self, engine: Engine, taxonomy: Taxonomy, digest: str) -> Card:
        path = self.path or Path()
        # As long as the one that is wanted, so that the weights are loaded with room for it.
        draft = zero_shot.card(self.name, path, digest, self.family, taxonomy, lambda _: True, engine.shows)
        known = engine.vocabulary(draft)
        return zero_shot.card(self.name, path, digest, self.family, taxonomy, known, engine.shows)

    def _hashed(self, path: Path) -> str:
        """Of gigabytes, so only when the file has changed."""
        try:
            about = os.stat(path)
        except OSError:
            raise EngineDown(f"There is no GGUF file at {path}.") from None
        key = (about.st_ino, about.st_size, about.st_mtime_ns)
        if key not in self._digest:
            self._digest = {key: sha256(path)}
        return self._digest[key]
