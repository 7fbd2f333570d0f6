"""What stands between a ticket and a server that may be slow or gone: what is loaded there, a place to wait for, and a
breaker.

Used by the engines whose llms live on another server.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from circuitbreaker import CircuitBreaker

from models.errors import EngineDown
from models.llm.card import Card

# So many calls in a row fail before nobody is asked any more; `load` then brings the llm back.
FAILURES = 5
REST_S = 30.0


class Paused(EngineDown):
    """The server is well and asks for a pause: no failure of its own."""


def breaker() -> CircuitBreaker:
    """One for each llm; it counts what is the server's fault and not a ticket's."""
    return CircuitBreaker(failure_threshold=FAILURES, recovery_timeout=REST_S, expected_exception=_is_failure)


def _is_failure(kind: type[BaseException], _: BaseException) -> bool:
    return issubclass(kind, EngineDown) and not issubclass(kind, Paused)


class Guarded(Protocol):
    """An llm that an engine has loaded, and the card that it was asked to load."""

    @property
    def wanted(self) -> Card: ...

    @property
    def breaker(self) -> CircuitBreaker: ...


Loaded = TypeVar("Loaded", bound=Guarded)


def kept(
    loaded: MutableMapping[str, Loaded],
    card: Card,
    start: Callable[[Card], Loaded],
    well: Callable[[Loaded], bool] = lambda _: True,
) -> Loaded:
    """What is loaded for the card: started if it is another card's, or failed too often, or is not `well`."""
    known = loaded.get(card.name)
    if known is None or known.wanted != card or not known.breaker.closed or not well(known):
        known = loaded[card.name] = start(card)
    return known


def ready(loaded: Mapping[str, Loaded], llm: str, server: str) -> Loaded:
    """The llm, if it is loaded and may be asked; raises EngineDown."""
    found = loaded.get(llm)
    if found is None:
        raise EngineDown(f"The llm {llm!r} is not loaded.")
    if found.breaker.opened:
        raise EngineDown(failed(llm, found, server))
    return found


def failed(llm: str, loaded: Guarded, server: str) -> str:
    """Why an llm with an open breaker is not asked."""
    return f"{server} failed {FAILURES} times in a row for {llm}: {loaded.breaker.last_failure}"


@dataclass(frozen=True)
class Turn(Generic[Loaded]):
    """One call to an llm: `left` is how many seconds it may take, `asked` when somebody began to wait for it."""

    llm: Loaded
    left: float
    asked: float
    waited_ms: float

    def call_ms(self) -> float:
        """All of it until now."""
        return (time.perf_counter() - self.asked) * 1e3


@contextmanager
def turn(
    loaded: Mapping[str, Loaded], llm: str, slots: threading.Semaphore, seconds: float, server: str
) -> Iterator[Turn[Loaded]]:
    """A turn at an llm; nobody waits for one that may not be asked, and it is looked at again after the wait."""
    asked = time.perf_counter()
    ready(loaded, llm, server)
    with slot(slots, seconds, server) as left:
        waited = time.perf_counter() - asked
        yield Turn(ready(loaded, llm, server), left, asked, waited * 1e3)


@contextmanager
def slot(slots: threading.Semaphore, seconds: float, server: str) -> Iterator[float]:
    """One of the `slots`, waited for here, where it is seen and ends; gives the seconds that are left."""
    deadline = time.monotonic() + seconds
    if not slots.acquire(timeout=seconds):
        raise EngineDown(f"No slot of {server} became free within {seconds:.3g} s.")
    try:
        yield deadline - time.monotonic()
    finally:
        slots.release()


def added(one: float, other: float) -> float:
    """log(exp(one) + exp(other))."""
    top = max(one, other)
    return top + math.log(math.exp(one - top) + math.exp(other - top))
