"""Ollama's HTTP in the engine's words: one call for one token, and what is there, resident and how old.

Called by `ollama` and by `triage llm check`. Not the `ollama` package: its generate cannot send `truncate`, and without
that a prompt that is too long loses its head and is answered all the same.
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from models.errors import ConfigError, EngineDown, EngineError, PromptTooLong, TicketRejected
from workers.engines import reported
from workers.engines.exchange import Reply, exchange
from workers.engines.openai_http import asked_pause
from workers.engines.tls import verification

log = structlog.get_logger()

# The first version that gives log-probabilities.
OLDEST = (0, 12, 11)
# The longest list of tokens that Ollama gives.
TOP = 20
_CONNECT_S = 1.0
_LOOK_S = 10.0
# A large vocabulary with its merges is some megabytes.
_MOST_BYTES = 64 << 20
_SAID = {"name", "digest"}
_NOT_OLLAMA = "What answers in Ollama's place is not Ollama"
_BLOB = re.compile(r"^FROM .*sha256-([0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True)
class Resident:
    """A model in Ollama's memory: bytes in all, of them on a GPU, and the tokens a prompt may have, if it says so."""

    size: int
    size_vram: int
    context: int | None = None


class _Passing(EngineDown):
    """Worth one more try at once."""


class Server:
    """One Ollama server. Calls may come from several threads; all raise EngineDown when nobody answers."""

    def __init__(self, url: str):
        self.url = url
        times = httpx.Timeout(_LOOK_S, connect=_CONNECT_S)
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=times, verify=verification(url))

    def close(self) -> None:
        self._client.close()

    def version(self) -> str:
        """What the server calls itself. Raises ConfigError when it is too old; a source build, 0.0.0, may be any."""
        found = reported.name(self._look("GET", "/api/version").get("version"))
        numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", found)
        parts = tuple(map(int, numbers.groups())) if numbers else (0, 0, 0)
        if parts == (0, 0, 0):
            log.warning("ollama.version_unknown", version=found)
        elif parts < OLDEST:
            raise ConfigError(f"Ollama {found} gives no log-probabilities: update it to 0.12.11 or newer.")
        return found

    def digest(self, model: str) -> str:
        """Ollama's own digest of what it holds under this name, weights and parameters; empty when nothing."""
        models = self._models("/api/tags")
        return next((reported.name(one["digest"]) for one in models if one["name"] == _tagged(model)), "")

    def blob(self, model: str) -> str:
        """The SHA-256 of the GGUF that is served under this name."""
        found = _BLOB.search(self._look("POST", "/api/show", {"model": model}).get("modelfile", ""))
        return found.group(1) if found else ""

    def tokens(self, model: str) -> set[str]:
        """The model's vocabulary, as it is written in its file; some megabytes."""
        shown = self._look("POST", "/api/show", {"model": model, "verbose": True})
        return set((shown.get("model_info") or {}).get("tokenizer.ggml.tokens") or ())

    def resident(self) -> dict[str, Resident]:
        """What is in memory, by Ollama's digest: of two names for the same thing only one is told."""
        return {reported.name(one["digest"]): _resident(one) for one in self._models("/api/ps")}

    def preload(self, model: str, timeout_s: float) -> None:
        """Has the model loaded. A caller who leaves too early has the loading ended, so the timeout must be long."""
        self.generate({"model": model}, timeout_s)

    def generate(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """POST /api/generate, once more at once where that may help, `timeout_s` in all.

        Raises TicketRejected for a prompt that is too long or no text, EngineDown for what passes, else EngineError.
        """
        deadline = time.monotonic() + timeout_s
        try:
            return self._send("POST", "/api/generate", request, deadline)
        except _Passing:
            return self._send("POST", "/api/generate", request, deadline)

    def _models(self, path: str) -> list[dict[str, Any]]:
        found = self._look("GET", path).get("models")
        if not isinstance(found, list) or not all(isinstance(one, dict) and one.keys() >= _SAID for one in found):
            raise EngineDown(f"{_NOT_OLLAMA}: it lists no models.")
        return found

    def _look(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._send(method, path, body, time.monotonic() + _LOOK_S)

    def _send(self, method: str, path: str, body: dict[str, Any] | None, deadline: float) -> dict[str, Any]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise EngineDown(f"Ollama at {self.url} did not answer in time.")
        headers = {"Content-Type": "application/json"}
        request = self._client.build_request(method, path, content=_bytes(body), headers=headers)
        try:
            reply = exchange(self._client, request, deadline=deadline, connect_s=_CONNECT_S, most_bytes=_MOST_BYTES)
        except (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout):
            raise EngineDown(f"Ollama at {self.url} did not answer in time.") from None
        except (httpx.TransportError, httpx.DecodingError):
            raise _Passing(f"No Ollama answers at {self.url}: start it, or mend engines.url in triage.yaml.") from None
        if not 200 <= reply.status < 300:
            raise refusal(reply, body or {})
        return _object(reply.content)


def token_request(model: str, prompt: str, **options: Any) -> dict[str, Any]:
    """One token after `prompt` with the log-probabilities of the likeliest ones, whatever the model's own defaults.

    Nothing here differs from call to call: num_ctx would load the model anew, keep_alive could keep another from
    loading, and a stop string that begins like a code would hide it.
    """
    return {
        "model": model,
        "prompt": prompt,
        "raw": True,
        "stream": False,
        "truncate": False,
        "logprobs": True,
        "top_logprobs": TOP,
        "options": {"num_predict": 1, "temperature": 0, "seed": 0, "repeat_penalty": 1.0} | options,
    }


def refusal(reply: Reply, body: dict[str, Any]) -> EngineError:
    """What an error status means for the ticket that asked. What a proxy before Ollama says is never its fault."""
    status, said = reply.status, _said(reply.content)
    if status in (401, 403, 407) or status < 400:
        return EngineDown(f"Ollama, or what stands before it, lets nobody in ({status}): let the worker in there.")
    if status == 429:
        pause = asked_pause(reply.headers)
        return EngineDown(f"Ollama has had too many requests (429): a pause of {pause} s.", retry_after=pause)
    if status == 404:
        return EngineDown(
            f"Ollama has no model {body.get('model')!r}: run triage llm create or triage llm pull for it."
        )
    if status == 400 and "context" in said:
        return PromptTooLong("The prompt has more tokens than the llm's context in Ollama holds.")
    passes = status == 503 or "unexpectedly stopped" in said
    said = reported.sentence(said, body.get("prompt", ""))
    if passes:
        return _Passing(f"Ollama is not able to answer now: {said}.")
    if status >= 500:
        return EngineDown(f"Ollama failed with {status}: {said}.")
    return EngineError(f"Ollama refused the request with {status}: {said}.")


def _resident(one: dict[str, Any]) -> Resident:
    return Resident(one.get("size", 0), one.get("size_vram", 0), reported.count(one.get("context_length")))


def _tagged(model: str) -> str:
    """The full name under which Ollama lists a model."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def _bytes(body: dict[str, Any] | None) -> bytes | None:
    try:
        return None if body is None else json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise TicketRejected(f"The prompt is no text: {error.reason}.") from None


def _said(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])[:200].rstrip(".")
    except (ValueError, KeyError, TypeError, RecursionError):
        return content[:800].decode(errors="replace")[:200].strip().rstrip(".")


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise EngineDown(f"{_NOT_OLLAMA}: its answer is no JSON object.")
    return found
