"""One field as an llm is asked about it. Made by `llm`, once for as long as its card and the labels stay."""

from collections.abc import Mapping
from dataclasses import dataclass

from models.llm.card import Card
from models.taxonomy import TaxonomyField
from workers.engines.base import Engine
from workers.pins import Pin


@dataclass(frozen=True, slots=True)
class Question:
    """`codes` has the code of each label; temperature and prior are those of the calibration that counts, if one does.

    `version` is the engine's, which the pin names.
    """

    card: Card
    labels: TaxonomyField
    version: str
    pin: Pin
    codes: Mapping[str, str]
    temperature: float | None
    prior: Mapping[str, float]

    def holds(self, card: Card, labels: TaxonomyField, engine: Engine) -> bool:
        """Whether nothing has changed that it depends on: a card or labels that were read anew are other ones."""
        return self.card is card and self.labels is labels and self.version == engine.version
