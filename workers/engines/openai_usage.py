"""What an answer says besides: who answered, how many tokens it was, how long it took. Used by `openai`."""

from collections.abc import Callable, Mapping
from typing import Any

from workers.engines import reported
from workers.engines.base import Timings

Bill = Callable[[str, int | None, int | None], None]
"""Told of each reply while an llm is loaded: the llm, and the tokens read and written, as far as the server says."""


def free(llm: str, prompt_tokens: int | None, completion_tokens: int | None) -> None:
    """For those who keep no account."""


def answering(reply: Mapping[str, Any], model: str) -> str:
    """The version that answers, such as gpt-4o-mini-2024-07-18 for gpt-4o-mini."""
    found = reply.get("model")
    return reported.name(found) if isinstance(found, str) and found else model


def tokens(reply: Mapping[str, Any], name: str) -> int | None:
    """One of the counts under `usage`."""
    return reported.count(_inside(reply, "usage").get(name))


def timings(call_ms: float, waited_ms: float, reply: Mapping[str, Any]) -> Timings:
    """Of the server's own times only llama-server says any; where none are said, only our own waiting is known."""
    prefill, decode = (
        reported.milliseconds(_inside(reply, "timings").get(name)) for name in ("prompt_ms", "predicted_ms")
    )
    known = prefill is not None and decode is not None
    return Timings(
        call_ms=call_ms,
        slot_ms=max(waited_ms, call_ms - (prefill or 0.0) - (decode or 0.0)) if known else waited_ms,
        prefill_ms=prefill if known else None,
        decode_ms=decode if known else None,
        prompt_tokens=tokens(reply, "prompt_tokens"),
        cached_tokens=tokens({"usage": _inside(_inside(reply, "usage"), "prompt_tokens_details")}, "cached_tokens"),
        completion_tokens=tokens(reply, "completion_tokens"),
    )


def _inside(reply: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = reply.get(name)
    return found if isinstance(found, dict) else {}
