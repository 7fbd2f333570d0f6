"""What one llm said of one field of one ticket. Made by `llm`, read by classify and record."""

from dataclasses import dataclass

from models.llm.answer import Answer
from workers.engines.base import Timings
from workers.pins import Pin
from workers.spend import Spend


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one llm said of one field, where its time went, and which pinned version was asked.

    `day` is that of its `spend` on which it was paid; `cut` says that it read only a part of the text.
    """

    llm: str
    answer: Answer
    timings: Timings
    pin: Pin
    scope: float | None = None
    cost: float | None = None
    spend: Spend | None = None
    day: int = 0
    cut: bool = False
