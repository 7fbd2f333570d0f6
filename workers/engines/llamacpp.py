"""The llama.cpp engine, in process: one xllamacpp server per llm, on a private unix socket. Called by workers."""

import itertools
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from models.errors import EngineDown, EngineError
from models.llm.card import Card
from models.llm.memory import num_ctx
from models.llm.prompt import render
from workers.engines.base import Scores, Timings
from workers.engines.llamacpp_server import VERSION, Server
from workers.engines.slots import Slots
from workers.engines.tokens import either, ids, known

# Holds any prepared ticket: 1,500 bytes, half as many again if lower-casing lengthens them, and the prompt around it.
CONTEXT = 2_560
# The raw list that each call asks for, about 5 us an entry; what it lacks comes from a second call of about 0.4 ms.
# With 11 codes, 32 held them all for 73 to 86 % of the demo's tickets, and 24 to 48 were equally fast.
TOP = 32
# For one call and for the first one of all, in seconds; a large llm may read for minutes on a CPU.
DEADLINE_S = 300.0
LOAD_S = 600.0
# A unix socket's path has 108 bytes in Linux, its closing NUL included.
_LONGEST_SOCKET = 107


@dataclass(frozen=True)
class _Weights:
    digest: str
    server: Server


@dataclass(frozen=True)
class _Loaded:
    card: Card
    server: Server
    ids: dict[str, list[int]]
    slots: Slots


class LlamaCpp:
    """Scores with llama.cpp in this process; `deadline_s` is for a call in all.

    `threads` is per llm: one is best for the tiny ones.
    """

    kind = "llamacpp"
    shows: int | None = None
    version = VERSION

    def __init__(
        self,
        directory: Path,
        *,
        parallel: int = 4,
        threads: int = 1,
        context: int = CONTEXT,
        deadline_s: float = DEADLINE_S,
    ):
        self.parallel = parallel
        self._deadline_s = deadline_s
        self._threads = threads
        self._context = context
        self._sockets = _private(directory)
        self._weights: dict[str, _Weights] = {}
        self._loaded: dict[str, _Loaded] = {}
        self._loading = threading.Lock()
        self._numbers = itertools.count(1)

    def vocabulary(self, card: Card) -> Callable[[str], bool]:
        """Asks the llm's own tokenizer, for which its weights are loaded if they are not."""
        with self._loading:
            server = self._server(card)
        return known(card, server.tokenize)

    def load(self, card: Card) -> Card:
        """Starts the llm's server and warms every slot. Raises EngineDown, or ConfigError for bad codes."""
        with self._loading:
            before = self._loaded.get(card.name)
            if before is None or before.card != card:
                self._loaded[card.name] = self._start(card)
            return card

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        """Raw log-probabilities of all `codes`: one call, and a second cached one for those below the raw list."""
        ready = self._of(llm)
        asked = time.perf_counter()
        (logprobs, usages), waited = ready.slots.ask(partial(_score, ready, prompt, codes), self._deadline_s)
        call = time.perf_counter() - asked
        return Scores(logprobs, len(logprobs) == len(set(codes)), _timings(call * 1e3, waited * 1e3, usages))

    def tokenize(self, llm: str, prompt: str) -> list[int]:
        """The prompt's token ids, exactly as score would read them."""
        return self._of(llm).server.tokenize(prompt, begin=True)

    def count(self, llm: str, text: str) -> int:
        """The tokens of a text, as a prompt that holds it has them."""
        return len(self._of(llm).server.tokenize(text))

    def open_breaker(self, llm: str) -> str | None:
        """Only when every slot hangs: what runs in this process does not go away for a while."""
        ready = self._loaded.get(llm)
        return None if ready is None else ready.slots.hung()

    def close(self) -> None:
        """Stops every server and removes the sockets."""
        with self._loading:
            self._loaded.clear()
            self._weights.clear()
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _of(self, llm: str) -> _Loaded:
        ready = self._loaded.get(llm)
        if ready is None:
            raise EngineDown(f"The llm {llm!r} is not loaded.")
        return ready

    def _start(self, card: Card) -> _Loaded:
        """Loaded, and the header read in every slot."""
        server = self._server(card)
        codes = ids(card, server.tokenize)
        ready = _Loaded(card, server, codes, Slots(self.parallel))
        ready.slots.every(partial(_score, ready, _asked(card, "warm"), list(codes)), LOAD_S)
        return ready

    def _server(self, card: Card) -> Server:
        """The weights in memory, with room for the prompts: the same ones while only what is asked has changed."""
        weights = self._weights.get(card.name)
        if weights is None or (weights.digest, weights.server.gguf) != (card.digest, card.path):
            # A token has about four bytes of English; should that be too little room, it is seen below.
            weights = self._begun(card, num_ctx(len(_asked(card, "")) // 3) if card.budget else self._context)
        needed = num_ctx(len(weights.server.tokenize(_asked(card, ""), begin=True))) if card.budget else 0
        if needed > weights.server.context:
            weights = self._begun(card, needed)
        return weights.server

    def _begun(self, card: Card, context: int) -> _Weights:
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        socket = self._sockets / f"{next(self._numbers)}.sock"
        server = Server(card.path, socket, parallel=self.parallel, threads=self._threads, context=context)
        self._weights[card.name] = made = _Weights(card.digest, server)
        return made


def _asked(card: Card, text: str) -> str:
    """A prompt of the llm; no field's question is much longer than another's."""
    return render(text, next(iter(card.codes), ""), card.prompt_version, card.header)


def _score(
    ready: _Loaded, prompt: str, codes: Sequence[str], slot: int
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The bias only steers which token is sampled: the listed log-probabilities stay those of the raw softmax.

    So the sampled token is always a code with a known raw log-probability. If codes are missing in the raw list, the
    second call gives softmax over codes alone, and log p(code) = log q(code) + (log p(sampled) - log q(sampled)).
    """
    wanted = {code: ready.ids[code] for code in codes if code in ready.ids}
    tokens = [id_ for own in wanted.values() for id_ in own]
    if not tokens:
        return {}, []
    # A list shorter than the codes cannot hold them all, so then it need not be long.
    first = ready.server.complete(prompt, tokens, id_slot=slot, n_probs=TOP if len(tokens) <= TOP else 1)
    token = _first_token(first)
    raw = {entry["id"]: entry["logprob"] for entry in [*token["top_logprobs"], token]}
    usages = [first["timings"]]
    if not all(id_ in raw for id_ in tokens):
        second = ready.server.complete(prompt, tokens, id_slot=slot, n_probs=len(tokens), post_sampling_probs=True)
        usages.append(second["timings"])
        raw |= _lifted(raw, token["id"], _first_token(second)["top_probs"])
    found = {code: [raw[id_] for id_ in own if id_ in raw] for code, own in wanted.items()}
    return {code: either(values) for code, values in found.items() if values}, usages


def _lifted(raw: dict[int, float], sampled: int, entries: list[dict[str, Any]]) -> dict[int, float]:
    among_codes = {entry["id"]: math.log(entry["prob"]) for entry in entries if entry["prob"] > 0}
    if sampled not in among_codes:
        return {}
    lift = raw[sampled] - among_codes[sampled]
    return {id_: value + lift for id_, value in among_codes.items() if id_ not in raw}


def _first_token(reply: dict[str, Any]) -> dict[str, Any]:
    try:
        token: dict[str, Any] = reply["choices"][0]["logprobs"]["content"][0]
    except (KeyError, IndexError, TypeError):
        raise EngineError("llama.cpp answered without log-probabilities.") from None
    return token


def _timings(call_ms: float, waited_ms: float, usages: list[dict[str, Any]]) -> Timings:
    """The times of both calls add up; the token counts are the first's, as the second finds its prompt cached."""
    prefill = sum(usage["prompt_ms"] for usage in usages)
    decode = sum(usage["predicted_ms"] for usage in usages)
    return Timings(
        call_ms=call_ms,
        slot_ms=max(waited_ms, call_ms - prefill - decode),
        load_ms=0.0,
        prefill_ms=prefill,
        decode_ms=decode,
        prompt_tokens=usages[0]["cache_n"] + usages[0]["prompt_n"] if usages else None,
        cached_tokens=usages[0]["cache_n"] if usages else None,
    )


def _private(directory: Path) -> Path:
    """A fresh 0700 folder in `directory`, or in the system's temporary one where a socket's path would be too long."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    room = len(os.fsencode(directory.absolute())) + len("/llama-12345678/123456.sock") <= _LONGEST_SOCKET
    return Path(tempfile.mkdtemp(prefix="llama-", dir=directory.absolute() if room else None))
