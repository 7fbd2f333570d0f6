"""Codes as tokens: which count as a code, and what a list of the likeliest ones says of those it lacks."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

import models.llm
from models.errors import ConfigError
from models.llm.card import Card, load_card
from workers.engines.base import Timings
from workers.engines.tokens import ids, scored, single, spellings

TRAINED = replace(
    load_card(Path(models.llm.__file__).parent / "demo" / "primary.gguf"),
    codes={"category": {"refunds": "A", "cards": "B"}, "intent": {"lost": "C/A", "stolen": "C/B", "fees": "B/A"}},
)
ZERO_SHOT = replace(TRAINED, prompt_version="instruct-plain-1")
TIMINGS = Timings(1.0)


def bare(text: str) -> list[int]:
    """As Llama 3: a space belongs to the word after it, and nothing is put before a text."""
    return _read(text)


def spaced(text: str) -> list[int]:
    """As Mistral v0.3: a text begins with a space, of its own where a line break follows."""
    return [7, *_read(text)] if text.startswith("\n") else _read(f" {text}")


def _read(text: str) -> list[int]:
    """Every letter is a token, with the space before it if there is one."""
    return [
        ord(piece[-1]) + 1000 * (len(piece) - 1)
        for piece in text.replace(" ", "_ ").split("_")
        for piece in _cut(piece)
    ]


def _cut(piece: str) -> list[str]:
    head = piece[:2] if piece.startswith(" ") else piece[:1]
    return [head, *piece[len(head) :]] if piece else []


def test_codes_of_two_levels_are_tokens_in_their_parts() -> None:
    assert single(TRAINED) == ["A", "B", "C"]


@pytest.mark.parametrize("tokenize", [bare, spaced])
def test_an_llm_that_was_not_trained_on_codes_may_put_a_space_before_them(tokenize) -> None:
    assert ids(ZERO_SHOT, tokenize) == {code: [ord(code), ord(code) + 1000] for code in "ABC"}
    assert spellings(ZERO_SHOT)["A"] == ("A", " A")


def test_an_llm_that_was_trained_on_codes_counts_those_tokens_alone() -> None:
    assert ids(TRAINED, bare) == {"A": [65], "B": [66], "C": [67]}
    assert ids(TRAINED, spaced) == {"A": [1065], "B": [1066], "C": [1067]}
    assert spellings(TRAINED)["A"] == ("A",)


def test_a_code_needs_a_token_of_its_own() -> None:
    long = replace(ZERO_SHOT, codes={"category": {"refunds": "AB"}})
    with pytest.raises(ConfigError, match="'AB' is several tokens"):
        ids(long, bare)
    with pytest.raises(ConfigError, match="Two codes are the same token"):
        ids(ZERO_SHOT, lambda text: [10, 65][: len(text)])


def listed(**probabilities: float) -> dict[str, float]:
    return {text.replace("_", " "): math.log(p) for text, p in probabilities.items()}


@pytest.mark.parametrize(("card", "p"), [(ZERO_SHOT, 0.6), (TRAINED, 0.2)])
def test_both_spellings_add_up_only_where_nothing_was_trained(card: Card, p: float) -> None:
    found = scored(listed(A=0.2, _A=0.4, B=0.1, C=0.1), ["A", "B", "C"], spellings(card), TIMINGS)
    assert math.exp(found.logprobs["A"]) == pytest.approx(p)
    assert (found.complete, found.bounds) == (True, {})


def test_what_is_missing_has_at_most_its_share_of_the_rest() -> None:
    found = scored(listed(A=0.5, the=0.4, a=0.06), ["A", "B", "C"], spellings(TRAINED), TIMINGS)
    assert found.logprobs == pytest.approx({"A": math.log(0.5)})
    assert not found.complete
    assert found.bounds == pytest.approx({"B": math.log(0.02), "C": math.log(0.02)})


def test_a_code_that_is_not_on_the_card_has_no_bound() -> None:
    found = scored(listed(A=0.5, nonsense=0.4), ["A", "nonsense"], spellings(TRAINED), TIMINGS)
    assert (found.logprobs.keys(), found.complete, found.bounds) == ({"A"}, False, {})


def test_calls_for_one_ticket_add_up() -> None:
    first = Timings(5.0, 1.0, 0.0, 3.0, 1.0, 40, None, 1)
    assert first + Timings(2.0, 0.5, 0.0, 1.0, 0.5, 41, 40, 1) == Timings(7.0, 1.5, 0.0, 4.0, 1.5, 81, None, 2)
