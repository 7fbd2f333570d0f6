"""The engine for any server that speaks OpenAI's API: vLLM, llama-server, a cloud. Called by workers.

Nothing tells which weights such a server holds. So what it is pinned by is the model's name as the server gives it in
its answers, and the form in which it was asked.
"""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import structlog
from circuitbreaker import CircuitBreaker

from models.errors import ConfigError, EngineDown, EngineError
from models.llm.card import Card
from models.llm.codes import LEVELS
from workers.engines import guard
from workers.engines.base import Scores
from workers.engines.openai_forms import Form
from workers.engines.openai_http import NotOffered, Server
from workers.engines.openai_probe import GONE, Probe
from workers.engines.openai_usage import Bill, answering, free, timings, tokens
from workers.engines.tokens import scored, single, spellings

log = structlog.get_logger()


@dataclass(frozen=True)
class _Loaded:
    wanted: Card
    served: Card
    model: str
    form: Form
    version: str
    codes: Mapping[str, Sequence[str]]
    breaker: CircuitBreaker = field(default_factory=guard.breaker)


class OpenAi:
    """Scores with one server. `models` says what each llm is called there; `deadline_s` is for a call in all.

    The key is an argument, so that an engine reads no settings; `key_env` names it in sentences. `bill` hears of the
    replies that no ticket pays for.
    """

    kind = "openai"
    shows: int | None = 20  # some list more, and some fewer
    version = "v1"

    def __init__(
        self,
        url: str,
        models: Mapping[str, str],
        *,
        key: str | None = None,
        key_env: str | None = None,
        bill: Bill = free,
        parallel: int = 4,
        deadline_s: float = 30.0,
        load_s: float = 600.0,
    ):
        self.parallel = parallel
        self._models = dict(models)
        self._deadline_s = deadline_s
        self._load_s = load_s
        self._bill = bill
        self._server = Server(url, key, key_env)
        self._slots = threading.Semaphore(parallel)
        self._loaded: dict[str, _Loaded] = {}
        self._probe = Probe(url, self._sent, parallel)
        self._loading = threading.Lock()

    def vocabulary(self, card: Card) -> Callable[[str], bool]:
        """No server tells its tokens; a letter is one everywhere."""
        return lambda text: len(text) == 1

    def count(self, llm: str, text: str) -> None:
        """No server has a tokenizer that all of them have."""

    def load(self, card: Card) -> Card:
        """Finds out whether the server is there, takes the key, has the model, and in which form it can be asked.

        While all is well nothing is sent. Raises EngineDown, or ConfigError for a key that is refused, for codes of
        more than one token, and for a server that can be asked in no form.
        """
        with self._loading:
            return guard.kept(self._loaded, card, self._start).served

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        """Log-probabilities of those `codes` that the server lists, or only the code that it chose."""
        with guard.turn(self._loaded, llm, self._slots, self._deadline_s, self._server.url) as turn:
            ready = turn.llm
            labels = _labels(ready.wanted, codes)
            reply = self._asked(ready, ready.form.request(ready.model, prompt, labels), turn.left)
        times = timings(turn.call_ms(), turn.waited_ms, reply)
        reading = ready.form.read(reply)
        found = scored(reading.listed, codes, ready.codes, times)
        return dataclasses.replace(found, chosen=_chosen(reading.chosen, labels))

    def has(self, model: str) -> bool:
        """Whether the server lists the model; False when it lists nothing. Raises EngineDown when it lists others."""
        listed = self._server.models(self._deadline_s)
        if listed and not listed & {model, f"{model}:latest"}:
            raise EngineDown(f"{self._server.url} has no model {model!r}; it lists {_some(listed)}.")
        return bool(listed)

    def open_breaker(self, llm: str) -> str | None:
        """The last failure, until the llm is loaded anew; or the pause that the server has asked for."""
        ready = self._loaded.get(llm)
        if ready is None:
            return None
        return self._server.paused() if ready.breaker.closed else guard.failed(llm, ready, self._server.url)

    def close(self) -> None:
        """Lets the connections go."""
        with self._loading:
            self._loaded.clear()
            self._server.close()
            self._server = self._server.renewed()

    def _slot(self, seconds: float) -> AbstractContextManager[float]:
        return guard.slot(self._slots, seconds, self._server.url)

    def _asked(self, ready: _Loaded, request: dict[str, Any], left: float) -> dict[str, Any]:
        """The answer; an llm whose key, model or version has changed meanwhile is no longer loaded."""
        try:
            with ready.breaker:
                reply = self._server.send("POST", ready.form.path, request, left)
        except ConfigError:
            self._forget(ready)
            raise
        except NotOffered as error:
            if error.refused not in GONE:
                raise
            self._forget(ready)
            raise EngineDown(f"{self._server.url} does not answer for {ready.model!r} any more.") from None
        if answering(reply, ready.model) != ready.version:
            self._forget(ready)
            raise EngineDown(f"{self._server.url} has another version of {ready.model!r}: it is loaded anew.")
        return reply

    def _forget(self, ready: _Loaded) -> None:
        self._loaded.pop(ready.wanted.name, None)

    def _start(self, card: Card) -> _Loaded:
        model = self._models[card.name]
        self.has(model)
        form, reply = self._probe.form(card, model)
        version = answering(reply, model)
        return _Loaded(card, _as_served(card, f"{version}/{form.name}"), model, form, version, spellings(card))

    def _sent(self, llm: str, form: Form, request: dict[str, Any]) -> dict[str, Any]:
        """Some servers load a model when it is first asked, and stop loading when the caller leaves."""
        with self._slot(self._load_s) as left:
            reply = self._server.send("POST", form.path, request, left)
        self._bill(llm, tokens(reply, "prompt_tokens"), tokens(reply, "completion_tokens"))
        return reply


def _labels(card: Card, codes: Sequence[str]) -> dict[str, str]:
    """What can be chosen -> code: the card's labels with one of these codes; of codes in two levels, the codes."""
    wanted, whole = set(codes), [pair for field_ in card.codes.values() for pair in field_.items()]
    if any(LEVELS in code for _, code in whole):
        return {code: code for code in single(card) if code in wanted}
    return {label: code for label, code in whole if code in wanted}


def _chosen(label: str | None, labels: Mapping[str, str]) -> str | None:
    if label is not None and label not in labels:
        raise EngineError("The server answered with a label that it was not asked for.")
    return None if label is None else labels[label]


def _as_served(card: Card, identity: str) -> Card:
    """The card, without its calibration unless that was fitted on what this server calls so, asked in this form.

    A card that names no weights is for whatever is served.
    """
    if identity in (card.digest, *card.served):
        return dataclasses.replace(card, served=(identity,))
    if not card.digest:
        return dataclasses.replace(card, digest=identity, served=(identity,))
    log.warning("openai.uncalibrated", llm=card.name, served=identity, why="the card does not name it under served")
    return dataclasses.replace(card, digest=identity, calibration={}, served=(identity,))


def _some(names: set[str]) -> str:
    first = sorted(names)[:5]
    return ", ".join(first) + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")
