"""What every engine is to the workers: something that loads llms and scores codes.

Called by workers; engines know neither tables, settings nor Celery.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from models.llm.card import Card

MOST = 2**31 - 1  # what a column of counts can hold


@dataclass(frozen=True)
class Timings:
    """Where one call's time went, in milliseconds; None is what the engine does not report.

    call_ms is our wall time. slot_ms is waiting for a free slot, ours and the server's, and whatever else of the call
    was neither prefill nor decode. prompt_tokens counts the whole prompt, cached_tokens what of it was computed before.
    Where a field takes several calls, all of this is their sum.
    """

    call_ms: float
    slot_ms: float | None = None
    load_ms: float | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None

    def __add__(self, later: "Timings") -> "Timings":
        """Another call for the same ticket, after this one: all adds up, tokens too: all of them are paid."""
        pairs = {one.name: (getattr(self, one.name), getattr(later, one.name)) for one in fields(self)}
        sums: dict[str, Any] = {name: None if None in pair else min(MOST, sum(pair)) for name, pair in pairs.items()}
        return Timings(**sums)


@dataclass(frozen=True)
class Scores:
    """code -> raw natural log-probability as the very next token, of the softmax over the whole vocabulary.

    A code the engine could not score is absent, and `complete` then false; `bounds` has the most that it can have,
    where the engine lists the likeliest tokens only. The softmax of the linear engine is over the labels alone, so its
    `scope` says what a mass says elsewhere: the larger, the surer it is that some label fits.
    `chosen` is the code that a server without log-probabilities answered with: then there is nothing else.
    """

    logprobs: dict[str, float]
    complete: bool
    timings: Timings
    scope: float | None = None
    chosen: str | None = None
    bounds: Mapping[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """One engine serves several llms. All methods may be called from several threads.

    `shows` is how many of the likeliest tokens it can list; None where it can score any code.
    """

    kind: str
    version: str
    parallel: int
    shows: int | None

    def vocabulary(self, card: Card) -> Callable[[str], bool]:
        """Says of a text whether it is one token of the llm; the card needs no codes yet.

        Raises EngineDown when the llm is not there to be asked.
        """

    def load(self, card: Card) -> Card:
        """Loads and warms an llm, once; again only if the engine lost it. Gives the card as served.

        What is served may be other weights than the card's: then the digest is theirs, and there is no calibration.
        Raises EngineDown (try again later) or ConfigError (mend it first).
        """

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        """Scores `codes` after `prompt`; up to `parallel` calls per llm run at once, further ones wait.

        Raises EngineDown when the llm is not loaded, TicketRejected when this prompt cannot be scored, or EngineError.
        """

    def count(self, llm: str, text: str) -> int | None:
        """How many tokens a text is in a loaded llm; None where there is no tokenizer to ask."""

    def open_breaker(self, llm: str) -> str | None:
        """Why an llm that was loaded is not asked now: it failed too often in a row, or its server wants a pause.

        None while it is asked.
        """

    def close(self) -> None:
        """Gives everything back; score then raises EngineDown until the next load."""
