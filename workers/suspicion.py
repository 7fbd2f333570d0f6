"""Whether an llm refuses every ticket, which is no ticket's fault, and the known question that tells. Used by `llm`."""

import threading

import structlog

from models.errors import EngineDown
from models.llm.answer import filled
from models.llm.card import Card
from workers.backoff import Backoff
from workers.engines.base import Engine, Timings
from workers.fault import fault, mistake
from workers.scoring import score

# So many different tickets in a row are refused before the llm is suspected. They are told apart by their texts; but a
# ticket has no more than EACH attempts, so that many times as many refusals of one text are as many tickets.
TICKETS, EACH = 5, 5
KNOWN = "Where is my order?"
log = structlog.get_logger()


class Suspicion:
    """One llm's. All methods may be called from any thread; `why` says what it is suspected of.

    Where tickets are refused and the known question is answered, it takes twice as many for the next time: such tickets
    are refused for themselves, and are not to keep the others waiting.
    """

    def __init__(self) -> None:
        self.why: str | None = None
        self.backoff = Backoff()
        self._needed = TICKETS
        self._texts: set[int] = set()
        self._refusals = 0
        self._lock = threading.Lock()

    def refused(self, text: str, error: Exception) -> str | None:
        """Counts a refusal that is the ticket's own fault; why that is not believed any more."""
        if (said := fault(error)) is None:
            return None
        with self._lock:
            self._refusals += 1
            self._texts.add(hash(text))
            if len(self._texts) >= self._needed or self._refusals >= self._needed * EACH:
                asked = f"it refused {self._refusals} tickets in a row and is asked a known question first"
                self.why = self.why or f"{asked}. {said}"
            why = self.why
        if why is not None:
            _log(error)
        return why

    def answered(self) -> None:
        """An answer to a ticket ends the row. What is suspected already has to answer the known question first."""
        if self._refusals and self.why is None:
            self._begin(TICKETS)

    def settle(self, engine: Engine, card: Card, llm: str) -> Timings | None:
        """Asks the known question, if the llm is suspected. Raises EngineDown unless it is answered in every field.

        A trial may cost money, so they come ever more seldom.
        """
        if self.why is None:
            return None
        if (error := self.backoff.waits(card)) is not None:
            raise EngineDown(error)
        try:
            timings = _asked(engine, card, llm)
        except Exception as failure:
            if (said := fault(failure)) is None:
                raise
            _log(failure)
            error = f"it refuses every ticket, and a known question too. {said}"
            self.backoff.failed(card, error)
            raise EngineDown(error) from None
        self._begin(2 * self._needed)
        return timings

    def _begin(self, needed: int) -> None:
        """Counts from nothing."""
        with self._lock:
            self._needed, self._refusals, self.why, self.backoff = needed, 0, None, Backoff()
            self._texts.clear()


def _log(error: Exception) -> None:
    """For a mistake of ours that no ticket is told of."""
    if mistake(error):
        log.error("llm.failed", error=type(error).__name__, exc_info=error)


def _asked(engine: Engine, card: Card, llm: str) -> Timings:
    """How long the known question took in all fields; EngineError where no code has a log-probability or is chosen."""
    total = Timings(0.0, completion_tokens=0, prompt_tokens=0)
    for field, labels in card.codes.items():
        codes = list(labels.values())
        scores = score(engine, card, llm, KNOWN, field, codes)
        if scores.chosen is None:
            filled(scores.logprobs, codes, scores.bounds)
        total += scores.timings
    return total
