"""The forms in which servers of OpenAI's API can be asked for one label, the best first. Used by `openai`.

Temperature 1 leaves log-probabilities as they are, also on a server that lists them after its sampler.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.errors import EngineError
from models.llm.answer import ROUNDING
from workers.engines.guard import added

# vLLM writes -9999 where a log-probability is minus infinity, llama.cpp the lowest float32.
_LOWEST = -9_000.0


@dataclass(frozen=True)
class Reading:
    """What an answer says: log-probabilities by token text, or only which label was chosen."""

    listed: Mapping[str, float] = field(default_factory=dict)
    chosen: str | None = None


class Form(Protocol):
    """`labels` are the ids to choose from; only a form without log-probabilities needs them."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> str: ...

    def request(self, model: str, prompt: str, labels: Iterable[str]) -> dict[str, Any]: ...

    def read(self, reply: Mapping[str, Any]) -> Reading:
        """Raises EngineError when the answer lacks what was asked for."""


@dataclass(frozen=True)
class Completions:
    """The prompt as it is, and the `top` likeliest next tokens: vLLM, llama-server."""

    top: int
    name: str = "completions"
    path: str = "/completions"

    def request(self, model: str, prompt: str, labels: Iterable[str]) -> dict[str, Any]:
        return {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 1, "logprobs": self.top}

    def read(self, reply: Mapping[str, Any]) -> Reading:
        return Reading(_listed(reply))


@dataclass(frozen=True)
class Chat:
    """The prompt as one user message, and the 20 likeliest first tokens: OpenAI, Ollama's /v1.

    `limit` is what the server calls the number of tokens to write; OpenAI has renamed it.
    """

    limit: str
    name: str = "chat"
    path: str = "/chat/completions"

    def request(self, model: str, prompt: str, labels: Iterable[str]) -> dict[str, Any]:
        listed = {"temperature": 1, "logprobs": True, "top_logprobs": 20}
        return {"model": model, "messages": _messages(prompt), self.limit: 1, **listed}

    def read(self, reply: Mapping[str, Any]) -> Reading:
        return Reading(_listed(reply))


@dataclass(frozen=True)
class Choice:
    """The prompt as one user message, the answer held to one of the labels; it says nothing of how sure the llm is."""

    options: Mapping[str, Any]
    name: str = "choice"
    path: str = "/chat/completions"

    def request(self, model: str, prompt: str, labels: Iterable[str]) -> dict[str, Any]:
        label = {"type": "string", "enum": list(labels)}
        schema = {"type": "object", "properties": {"label": label}, "required": ["label"]}
        wanted = {"name": "label", "strict": True, "schema": schema | {"additionalProperties": False}}
        format_ = {"type": "json_schema", "json_schema": wanted}
        return {"model": model, "messages": _messages(prompt), "response_format": format_, **self.options}

    def read(self, reply: Mapping[str, Any]) -> Reading:
        try:
            return Reading(chosen=str(json.loads(_choice(reply)["message"]["content"])["label"]))
        except (KeyError, IndexError, TypeError, ValueError, RecursionError):
            raise EngineError("The server answered without a label.") from None


FORMS: tuple[Form, ...] = (
    Completions(100),
    Completions(20),
    Completions(5),
    Chat("max_tokens"),
    Chat("max_completion_tokens"),
    Choice({"max_tokens": 256, "temperature": 0}),
    Choice({"max_completion_tokens": 2_048}),
)


def _messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _choice(reply: Mapping[str, Any]) -> Any:
    return reply["choices"][0]


def _listed(reply: Mapping[str, Any]) -> dict[str, float]:
    """token text -> log-probability that it comes next; tokens that read alike add up, what is no number is missing.

    Chat answers and llama-server's completions list objects, vLLM's completions one object of texts.
    """
    try:
        found = _choice(reply)["logprobs"]
        entries = (found.get("content") or found["top_logprobs"])[0]
        pairs = (
            [(one["token"], one["logprob"]) for one in entries["top_logprobs"]]
            if "top_logprobs" in entries
            else [*entries.items()]
        )
        listed: dict[str, float] = {}
        for text, value in pairs:
            if _usable(value):
                listed[text] = added(listed[text], value) if text in listed else float(value)
    except (KeyError, IndexError, TypeError, AttributeError):
        listed = {}
    if not listed:
        raise EngineError("The server answered without log-probabilities.")
    return listed


def _usable(value: object) -> bool:
    """A log-probability may exceed 0 by rounding only; NaN and whatever is infinite fail it too."""
    return isinstance(value, int | float) and _LOWEST < value < ROUNDING
