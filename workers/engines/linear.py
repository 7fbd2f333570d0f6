"""The linear engine: scores labels with a linear llm in this process, on the CPU, in a fraction of a millisecond.

Called by workers. What computes is loaded with the first llm: a worker without a linear llm needs no scikit-learn.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING

from models.errors import ConfigError, EngineDown, TicketRejected
from models.llm.card import Card
from workers.engines.base import Scores, Timings

if TYPE_CHECKING:
    from models.llm.linear.model import LinearModel, Said


@dataclass(frozen=True)
class _Loaded:
    card: Card
    model: "LinearModel"


class Linear:
    """Its codes are the labels themselves, and its prompt (version text-1) is the text with the field's name below."""

    kind = "linear"
    shows: int | None = None
    version = metadata.version("scikit-learn")

    def __init__(self, *, parallel: int = 4):
        self.parallel = parallel
        self._loaded: dict[str, _Loaded] = {}
        self._loading = threading.Lock()

    def vocabulary(self, card: Card) -> Callable[[str], bool]:
        """It has no tokens: triage.yaml gives it no family."""
        return lambda text: False

    def count(self, llm: str, text: str) -> None:
        """It has no tokens."""

    def load(self, card: Card) -> Card:
        """Reads the llm's file. Raises EngineDown when it is not there, ConfigError when it is something else."""
        with self._loading:
            known = self._loaded.get(card.name)
            if known is None or known.card != card:
                self._loaded[card.name] = _Loaded(card, _read(card))
            return card

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        """Log-probabilities of those `codes` that are labels of the field that the prompt names."""
        return self.score_many(llm, [prompt], codes)[0]

    def score_many(self, llm: str, prompts: Sequence[str], codes: Sequence[str]) -> list[Scores]:
        """The same for several tickets of one field at once, which is faster; each call_ms is its share of the time."""
        started = time.perf_counter()
        said = _say(self._of(llm), prompts)
        found = [_scored(said, row, codes) for row in range(len(prompts))]
        timings = Timings(call_ms=(time.perf_counter() - started) * 1e3 / max(1, len(prompts)))
        return [Scores(logprobs, len(logprobs) == len(set(codes)), timings, scope) for logprobs, scope in found]

    def model(self, llm: str) -> "LinearModel":
        """The llm itself, for who asks about thousands of tickets. Raises EngineDown when it is not loaded."""
        return self._of(llm).model

    def open_breaker(self, llm: str) -> None:
        """It has none: what runs in this process does not go away for a while."""

    def close(self) -> None:
        """Forgets every llm."""
        with self._loading:
            self._loaded.clear()

    def _of(self, llm: str) -> _Loaded:
        ready = self._loaded.get(llm)
        if ready is None:
            raise EngineDown(f"The llm {llm!r} is not loaded.")
        return ready


def _say(ready: _Loaded, prompts: Sequence[str]) -> "Said | None":
    """None for a field that is not on the llm's card."""
    texts, fields = zip(*map(_parts, prompts), strict=True)
    if len(set(fields)) > 1:
        raise TicketRejected("These prompts ask about several fields at once.")
    if fields[0] not in ready.card.codes:
        return None
    return ready.model.say(ready.model.rows(texts), fields[0])


def _parts(prompt: str) -> tuple[str, str]:
    """Text and field: a prepared text is one line, so the last line is the field's."""
    if not prompt.isascii():
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise TicketRejected("The prompt is no text: it holds half a character.") from None
    text, _, field = prompt.rpartition("\n")
    return text, field


def _scored(said: "Said | None", row: int, codes: Sequence[str]) -> tuple[dict[str, float], float | None]:
    if said is None:
        return {}, None
    wanted = set(codes)
    pairs = zip(said.labels, said.logprobs[row].tolist(), strict=True)
    return {label: value for label, value in pairs if label in wanted}, float(said.scope[row])


def _read(card: Card) -> "LinearModel":
    if not card.path.is_file():
        raise EngineDown(f"There is no linear llm at {card.path}.")
    model: LinearModel = import_module("models.llm.linear.store").load(card.path)
    for field, labels in card.codes.items():
        head = model.heads.get(field)
        if head is None or set(labels.values()) != set(head.labels):
            raise ConfigError(f"{card.path} does not know the labels that its card names for the field {field}.")
    return model
