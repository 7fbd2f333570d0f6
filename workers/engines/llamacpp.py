"""The llama.cpp engine, in process: one xllamacpp server per llm, on a private unix socket. Called by workers."""

import http.client
import itertools
import json
import math
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before the import: OpenMP threads that spin at their barriers starve a busy machine (20 times slower, measured).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import xllamacpp

from models.errors import EngineDown, EngineError, TicketRejected
from models.llm.card import Card
from models.llm.prompt import render
from workers.engines.base import Scores, Timings
from workers.engines.tokens import either, ids

# Holds any prepared ticket: 1,500 bytes, half as many again if lower-casing lengthens them, and the prompt around it.
CONTEXT = 2_560
# The raw list that each call asks for, about 5 us an entry; what it lacks comes from a second call of about 0.4 ms.
# With 11 codes, 32 held them all for 73 to 86 % of the demo's tickets, and 24 to 48 were equally fast.
TOP = 32
# Lifts every code above every other token without losing float32 precision.
BIAS = 100.0
# A unix socket's path has 108 bytes in Linux, its closing NUL included.
_LONGEST_SOCKET = 107


@dataclass(frozen=True)
class _Loaded:
    card: Card
    server: xllamacpp.Server
    socket: Path
    ids: dict[str, list[int]]
    slots: threading.Semaphore


class LlamaCpp:
    """Scores with llama.cpp in this process. `threads` is per llm: one is best for the tiny ones."""

    kind = "llamacpp"
    shows: int | None = None
    version = str(xllamacpp.__version__)

    def __init__(self, directory: Path, *, parallel: int = 4, threads: int = 1, context: int = CONTEXT):
        self.parallel = parallel
        self._threads = threads
        self._context = context
        self._sockets = _private(directory)
        self._loaded: dict[str, _Loaded] = {}
        self._loading = threading.Lock()
        self._numbers = itertools.count(1)

    def load(self, card: Card) -> Card:
        """Starts the llm's server and warms every slot. Raises EngineDown, or ConfigError for bad codes."""
        with self._loading:
            known = self._loaded.get(card.name)
            if known is None or known.card != card:
                ready = self._start(card)
                self._warm(ready)
                self._loaded[card.name] = ready
            return card

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        """Raw log-probabilities of all `codes`: one call, and a second cached one for those below the raw list."""
        ready = self._of(llm)
        asked = time.perf_counter()
        with ready.slots:
            waited = time.perf_counter() - asked
            logprobs, usages = _score(ready, prompt, codes)
        call = time.perf_counter() - asked
        return Scores(logprobs, len(logprobs) == len(set(codes)), _timings(call * 1e3, waited * 1e3, usages))

    def tokenize(self, llm: str, prompt: str) -> list[int]:
        """The prompt's token ids, exactly as score would read them."""
        return _tokenize(self._of(llm).socket, prompt, begin=True)

    def open_breaker(self, llm: str) -> None:
        """It has none: what runs in this process does not go away for a while."""

    def close(self) -> None:
        """Stops every server and removes the sockets."""
        with self._loading:
            self._loaded.clear()
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _of(self, llm: str) -> _Loaded:
        ready = self._loaded.get(llm)
        if ready is None:
            raise EngineDown(f"The llm {llm!r} is not loaded.")
        return ready

    def _start(self, card: Card) -> _Loaded:
        if not card.path.is_file():
            raise EngineDown(f"There is no GGUF file at {card.path}.")
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        path = self._sockets / f"{next(self._numbers)}.sock"
        try:
            server = xllamacpp.Server(self._parameters(card, path))
        except RuntimeError as error:
            raise EngineDown(f"llama.cpp could not load {card.path.name}: {error}.") from error
        # A server that is dropped before its loop runs never ends, with the GIL held; an answer proves that it runs.
        _complete(server, "", [], n_probs=1)
        known = ids(card, lambda text: _tokenize(path, text))
        return _Loaded(card, server, path, known, threading.Semaphore(self.parallel))

    def _parameters(self, card: Card, path: Path) -> xllamacpp.CommonParams:
        p = xllamacpp.CommonParams()
        p.model.path = str(card.path)
        # A mapped file that someone overwrites or truncates kills this process with SIGBUS; copying loads as fast.
        p.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
        p.hostnames = [str(path)]
        p.n_parallel = self.parallel
        p.n_ctx = self._context * self.parallel
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = self._threads
        p.n_gpu_layers = 0
        p.cache_ram_mib = 0
        p.warmup = p.fit_params = p.ui = False
        p.verbosity = 0
        return p

    def _warm(self, ready: _Loaded) -> None:
        """At once on all slots: one after the other would land on the same slot, which has the header already."""
        prompt = render("warm", next(iter(ready.card.codes)), ready.card.prompt_version)
        with ThreadPoolExecutor(self.parallel) as pool:
            list(pool.map(lambda _: _score(ready, prompt, list(ready.ids)), range(self.parallel)))


def _score(ready: _Loaded, prompt: str, codes: Sequence[str]) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The bias only steers which token is sampled: the listed log-probabilities stay those of the raw softmax.

    So the sampled token is always a code with a known raw log-probability. If codes are missing in the raw list, the
    second call gives softmax over codes alone, and log p(code) = log q(code) + (log p(sampled) - log q(sampled)).
    """
    wanted = {code: ready.ids[code] for code in codes if code in ready.ids}
    tokens = [id_ for own in wanted.values() for id_ in own]
    if not tokens:
        return {}, []
    # A list shorter than the codes cannot hold them all, so then it need not be long.
    first = _complete(ready.server, prompt, tokens, n_probs=TOP if len(tokens) <= TOP else 1)
    token = _first_token(first)
    raw = {entry["id"]: entry["logprob"] for entry in [*token["top_logprobs"], token]}
    usages = [first["timings"]]
    if not all(id_ in raw for id_ in tokens):
        second = _complete(ready.server, prompt, tokens, n_probs=len(tokens), post_sampling_probs=True)
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


def _complete(server: xllamacpp.Server, prompt: str, tokens: Sequence[int], **options: object) -> dict[str, Any]:
    request = {
        "prompt": prompt,
        "max_tokens": 1,
        "temperature": 1.0,
        "samplers": [],
        "cache_prompt": True,
        "logit_bias": [[id_, BIAS] for id_ in tokens],
        **options,
    }
    try:
        reply: dict[str, Any] = server.handle_completions(request)
    except TypeError as error:
        raise TicketRejected(f"llama.cpp cannot read the prompt: {error}.") from error
    if "error" in reply:
        raise _refusal(reply["error"])
    return reply


def _refusal(error: dict[str, Any]) -> EngineError:
    if error.get("type") == "exceed_context_size_error":
        return TicketRejected(
            f"The prompt has {error['n_prompt_tokens']} tokens, the llm's context holds {error['n_ctx']}."
        )
    if error.get("code") == 503:
        return EngineDown(f"llama.cpp is not ready: {error.get('message')}.")
    return EngineError(f"llama.cpp failed: {error.get('message')}.")


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


def _tokenize(path: Path, text: str, begin: bool = False) -> list[int]:
    """Asks the server's own tokenizer, which reads control tokens in a text just as a completion does."""
    connection = http.client.HTTPConnection("localhost")
    with socket.socket(socket.AF_UNIX) as connection.sock:
        connection.sock.connect(str(path))
        body = json.dumps({"content": text, "add_special": begin, "parse_special": True})
        connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
        tokens: list[int] = json.loads(connection.getresponse().read())["tokens"]
    return tokens


def _private(directory: Path) -> Path:
    """A fresh 0700 folder in `directory`, or in the system's temporary one where a socket's path would be too long."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    room = len(os.fsencode(directory.absolute())) + len("/llama-12345678/123456.sock") <= _LONGEST_SOCKET
    return Path(tempfile.mkdtemp(prefix="llama-", dir=directory.absolute() if room else None))
