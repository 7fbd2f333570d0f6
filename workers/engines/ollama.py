"""The Ollama engine: another server on this machine or network holds the weights and scores. Called by workers."""

import dataclasses
import math
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import structlog
from circuitbreaker import CircuitBreaker

from models.errors import ConfigError, EngineDown, EngineError, PromptTooLong
from models.llm.answer import ROUNDING
from models.llm.card import Card
from models.llm.memory import num_ctx
from models.llm.prompt import render
from workers.engines import guard, reported
from workers.engines.base import Scores, Timings
from workers.engines.guard import added
from workers.engines.ollama_http import TOP, Server, token_request
from workers.engines.tokens import listed, scored, spellings

log = structlog.get_logger()
SERVER = "Ollama"  # as sentences call it
_LONGER = "make it with a larger num_ctx, or set OLLAMA_CONTEXT_LENGTH where Ollama runs"
_SHORT = f"long tickets will be cut more than they need be; {_LONGER}"


@dataclass(frozen=True)
class _Loaded:
    wanted: Card
    served: Card
    model: str
    digest: str
    codes: Mapping[str, Sequence[str]]
    breaker: CircuitBreaker = field(default_factory=guard.breaker)


class Ollama:
    """Scores with an Ollama server. `models` says what each llm is called there; `deadline_s` is for a call in all."""

    kind = "ollama"
    shows: int | None = TOP

    def __init__(
        self,
        url: str,
        models: Mapping[str, str],
        *,
        parallel: int = 4,
        deadline_s: float = 30.0,
        load_s: float = 600.0,
    ):
        self.version = "unknown"
        self.parallel = parallel
        self._models = dict(models)
        self._deadline_s = deadline_s
        self._load_s = load_s
        self._server = Server(url)
        self._slots = threading.Semaphore(parallel)
        self._loaded: dict[str, _Loaded] = {}
        self._crowded: dict[str, str] = {}
        self._loading = threading.Lock()

    def vocabulary(self, card: Card) -> Callable[[str], bool]:
        """Ollama lists a model's tokens; where it does not, a letter is one everywhere."""
        tokens = self._server.tokens(self._models[card.name])
        return listed(card, tokens) if tokens else lambda text: len(text) == 1

    def count(self, llm: str, text: str) -> None:
        """Ollama has no tokenizer to ask."""

    def load(self, card: Card) -> Card:
        """Has Ollama load the llm and warms every slot; again when Ollama lost it, or failed too often.

        A ticket must never be what makes Ollama load: its deadline would end the loading. So this is called all the
        time, and asks for little while all is well. Raises EngineDown, or ConfigError for a server that is too old or
        too small and for bad codes.
        """
        with self._loading:
            return guard.kept(self._loaded, card, self._start, self._resident).served

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        """Raw log-probabilities of those `codes` that are among the 20 likeliest tokens, and bounds of the others."""
        with guard.turn(self._loaded, llm, self._slots, self._deadline_s, SERVER) as turn, turn.llm.breaker:
            reply = self._server.generate(token_request(turn.llm.model, prompt), turn.left)
        times = _timings(turn.call_ms(), turn.waited_ms, reply)
        return scored(by_text(reply), codes, turn.llm.codes, times)

    def open_breaker(self, llm: str) -> str | None:
        """The last failure, until the llm is loaded anew or, by a call that was let through, answers again."""
        ready = self._loaded.get(llm)
        return None if ready is None or ready.breaker.closed else guard.failed(llm, ready, SERVER)

    def close(self) -> None:
        """Lets the connections go; the models stay in Ollama."""
        with self._loading:
            self._loaded.clear()
            self._server.close()
            self._server = Server(self._server.url)

    def _slot(self, seconds: float) -> AbstractContextManager[float]:
        return guard.slot(self._slots, seconds, SERVER)

    def _resident(self, ready: _Loaded) -> bool:
        """Whether Ollama has in memory what it had, and would still answer with that."""
        return self._server.digest(ready.model) == ready.digest and ready.digest in self._server.resident()

    def _start(self, card: Card) -> _Loaded:
        if card.name in self._crowded:
            raise ConfigError(self._crowded[card.name])
        model = self._models[card.name]
        self.version = self._server.version()
        before = self._server.resident()
        self._server.preload(model, self._load_s)
        digest = self._server.digest(model)
        ready = _Loaded(card, _as_served(card, digest, self._server.blob(model)), model, digest, spellings(card))
        self._require_tokens(ready)
        self._warm(ready)
        self._require_room(ready, before)
        return ready

    def _require_tokens(self, ready: _Loaded) -> None:
        """Ollama has no tokenizer to ask, but it counts: a code must be as long as a letter, which is one token.

        What came from the llm's own vocabulary needs no such proof.
        """
        if ready.wanted.header:
            return
        codes = sorted(ready.codes)
        with ThreadPoolExecutor(self.parallel) as pool:
            letter, *counts = pool.map(lambda text: self._count(ready, text), ["a", *codes])
        for code, count in zip(codes, counts, strict=True):
            if count != letter:
                tokens = count - letter + 1
                raise ConfigError(f"The code {code!r} is {tokens} tokens in this llm: a code must be exactly one.")

    def _count(self, ready: _Loaded, text: str) -> int:
        with self._slot(self._load_s) as left:
            reply = self._server.generate(token_request(ready.model, text), left)
        return reported.count(reply.get("prompt_eval_count")) or 0

    def _warm(self, ready: _Loaded) -> None:
        """At once on all slots: one after the other would land on the same slot, which has the header already."""
        card = ready.wanted
        prompt = render("warm", next(iter(card.codes)), card.prompt_version, card.header)
        with ThreadPoolExecutor(self.parallel) as pool:
            tokens = max(pool.map(lambda _: self._warm_one(ready, prompt), range(self.parallel)))
        resident = self._server.resident().get(ready.digest)
        context = resident.context if resident is not None else None
        if card.budget and context is not None and context < (wanted := num_ctx(tokens)):
            log.warning("ollama.short_context", llm=card.name, context=context, wanted=wanted, why=_SHORT)

    def _warm_one(self, ready: _Loaded, prompt: str) -> int:
        with self._slot(self._load_s) as left:
            try:
                reply = self._server.generate(token_request(ready.model, prompt), left)
            except PromptTooLong:
                raise ConfigError(
                    f"The labels alone do not fit into the context of {ready.model}: {_LONGER}."
                ) from None
        by_text(reply)
        return reported.count(reply.get("prompt_eval_count")) or 0

    def _require_room(self, ready: _Loaded, before: Container[str]) -> None:
        """Two llms that push each other out would load anew for every ticket; so then the later one is not used.

        `before` is what was in memory when the loading began: what Ollama lost by its own restart was not pushed.
        """
        resident = self._server.resident()
        here = resident.get(ready.digest)
        if here is None:
            raise EngineDown(f"Ollama does not keep {ready.model}: set OLLAMA_KEEP_ALIVE=-1 where it runs.")
        if here.size_vram < here.size:
            log.warning("ollama.partly_on_cpu", llm=ready.wanted.name, size=here.size, size_vram=here.size_vram)
        for other in list(self._loaded.values()):
            if other.digest in before and other.digest not in resident and other.wanted.name != ready.wanted.name:
                del self._loaded[other.wanted.name]
                name = ready.wanted.name
                self._crowded[name] = (
                    f"Loading {ready.model} pushed {other.model} out of Ollama: set OLLAMA_MAX_LOADED_MODELS=2 there, "
                    "or give it more memory, and restart the worker."
                )
                raise ConfigError(self._crowded[name])


def _as_served(card: Card, digest: str, blob: str) -> Card:
    """The card, without its calibration unless Ollama is known to hold the very weights that was fitted on.

    A card that names no weights is for whatever Ollama holds.
    """
    if blob == card.digest or digest in card.served:
        return dataclasses.replace(card, served=(digest,))
    if not card.digest:
        return dataclasses.replace(card, digest=blob or digest, served=(digest,))
    log.warning("ollama.uncalibrated", llm=card.name, served=digest, why="the card was not written for these weights")
    return dataclasses.replace(card, digest=digest, calibration={}, served=(digest,))


def by_text(reply: dict[str, Any]) -> dict[str, float]:
    """token text -> log-probability that the next token reads so, for the likeliest; tokens that read alike add up.

    Raises EngineError for an answer without a score: a first token without text comes as an empty answer that is not
    done, or without log-probabilities. What cannot be read as Ollama's is no score either.
    """
    listed: dict[str, float] = {}
    try:
        for entry in reply["logprobs"][0]["top_logprobs"]:
            text, value = entry["token"], float(entry["logprob"])
            if -math.inf < value < ROUNDING:  # NaN fails it too
                listed[text] = added(listed[text], value) if text in listed else value
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        listed = {}
    if not listed:
        raise EngineError("Ollama answered without log-probabilities: the first token has no text.")
    return listed


def _timings(call_ms: float, waited_ms: float, reply: dict[str, Any]) -> Timings:
    """Ollama counts in nanoseconds and leaves out what is 0. What it does not account for is its own queue and ours."""
    load, prefill, decode = (
        reported.milliseconds(reply.get(f"{part}_duration"), 1e6) or 0.0 for part in ("load", "prompt_eval", "eval")
    )
    return Timings(
        call_ms=call_ms,
        slot_ms=max(waited_ms, call_ms - load - prefill - decode),
        load_ms=load,
        prefill_ms=prefill,
        decode_ms=decode,
        prompt_tokens=reported.count(reply.get("prompt_eval_count")),
        cached_tokens=reported.count(reply.get("prompt_eval_cached_count")),
    )
