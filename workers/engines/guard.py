"""What stands between a ticket and a server that may be slow or gone: a place to wait for, and a breaker.

Used by the engines whose llms live on another server.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, TypeVar

from circuitbreaker import CircuitBreaker

from models.errors import EngineDown

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
    """An llm that an engine has loaded."""

    @property
    def breaker(self) -> CircuitBreaker: ...


Loaded = TypeVar("Loaded", bound=Guarded)


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
