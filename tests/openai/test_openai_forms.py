"""Answers as the documentation of other servers shows them, read by the forms."""

import math
from typing import Any

import pytest

from models.errors import EngineError
from workers.engines.openai_forms import FORMS, Chat, Choice, Completions
from workers.engines.openai_usage import answering, timings, tokens


def test_completions_of_vllm() -> None:
    """A list with one object of texts; minus infinity comes as -9999."""
    top = {" A": -0.1, " B": -2.5, "C": -9999.0, "D": None}
    reply = {"choices": [{"text": " A", "logprobs": {"tokens": [" A"], "top_logprobs": [top]}}]}
    assert Completions(20).read(reply).listed == {" A": -0.1, " B": -2.5}


def test_a_chat_in_which_tokens_read_alike() -> None:
    top = [{"token": "A", "logprob": math.log(p), "bytes": [65]} for p in (0.5, 0.1)]
    reply = {"choices": [{"logprobs": {"content": [{"token": "A", "logprob": -0.7, "top_logprobs": top}]}}]}
    assert Chat("max_tokens").read(reply).listed == {"A": pytest.approx(math.log(0.6))}


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"logprobs": None},
        {"logprobs": {}},
        {"logprobs": {"content": []}},
        {"logprobs": {"content": None, "top_logprobs": [None]}},
        {"logprobs": {"content": [{"top_logprobs": []}]}},
        {"logprobs": {"content": [{"top_logprobs": [{"token": ["A"], "logprob": -1.0}]}]}},
        {"logprobs": {"top_logprobs": [{}]}},
        {"logprobs": {"top_logprobs": [{"A": "-0.1", "B": True}]}},
        {"logprobs": {"top_logprobs": [{"A": 10**400, "B": -(10**400), "C": math.nan, "D": 0.5, "E": -math.inf}]}},
        {"logprobs": [1]},
        None,
    ],
)
def test_what_is_no_list_of_log_probabilities(choice: Any) -> None:
    for form in FORMS[:4]:
        with pytest.raises(EngineError, match="without log-probabilities"):
            form.read({"choices": [choice]})


@pytest.mark.parametrize("content", [None, "", "refunds", "[]", '{"queue": "refunds"}', "{" * 100_000])
def test_what_is_no_label(content: str | None) -> None:
    with pytest.raises(EngineError, match="without a label"):
        Choice({}).read({"choices": [{"message": {"content": content}}]})


def test_a_chosen_label() -> None:
    reading = Choice({}).read({"choices": [{"message": {"content": '{"label": "refunds"}'}}]})
    assert (reading.chosen, reading.listed) == ("refunds", {})


def test_what_an_answer_says_besides() -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 8}}
    found = timings(10.0, 2.0, {"usage": usage})
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens) == (12, 1, 8)
    assert (found.slot_ms, found.load_ms, found.prefill_ms, found.decode_ms) == (2.0, None, None, None)
    bare = timings(10.0, 2.0, {"usage": None, "timings": "soon"})
    assert (bare.prompt_tokens, bare.completion_tokens, bare.cached_tokens) == (None, None, None)
    assert [tokens({"usage": {"prompt_tokens": count}}, "prompt_tokens") for count in (-1, 2**31)] == [None, None]
    assert timings(10.0, 2.0, {"timings": {"prompt_ms": 10**400, "predicted_ms": 1.0}}).decode_ms is None
    assert answering({"model": "gpt-4o-mini-2024-07-18"}, "gpt-4o-mini") == "gpt-4o-mini-2024-07-18"
    assert answering({"model": None}, "x") == "x"
