"""An llm reads as much of a ticket as its budget of tokens holds, and never more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stock_tokenizers import llama3

from models.llm.budget import fitted, surely
from models.llm.text import BUDGET, Prepared, fit, whole


def words(text: str) -> int:
    return len(text.split())


def unknown(text: str) -> None:
    return None


def never(text: str) -> int:
    raise AssertionError("a short text needs no counting")


def test_a_trained_llm_reads_the_bytes_it_was_trained_on() -> None:
    long = whole("", "word " * 1_000)
    assert fitted(long, None, never) == fit(long, BUDGET) == surely(long, None)
    assert len(fitted(long, None, never).text.encode()) <= BUDGET


def test_a_text_of_few_bytes_is_not_counted() -> None:
    assert fitted(Prepared("where is my card", cut=False), 16, never) == Prepared("where is my card", cut=False)


def test_a_text_is_cut_to_exactly_the_budget_with_head_and_tail() -> None:
    text = whole("", " ".join(f"w{n}" for n in range(1_000)))
    assert fitted(text, 1_000, words) == text, "long, but not too long"
    read = fitted(text, 100, words)
    assert read.cut
    assert words(read.text) == 100
    assert read.text.startswith("w0 w1 w2 ")
    assert read.text.endswith(" w998 w999")


def test_without_a_tokenizer_three_bytes_are_a_token_and_one_is_for_sure() -> None:
    text = whole("", "word " * 1_000)
    assert 290 < len(fitted(text, 100, unknown).text) <= 300
    assert 90 < len(surely(text, 100).text) <= 100


@pytest.mark.parametrize("tokens", [16, 200])
@given(st.text(min_size=1, max_size=60))
def test_the_budget_holds_in_a_real_tokenizer(tokens: int, unit: str) -> None:
    text = whole("", unit * 40)
    counted = [
        len(llama3().read(one.text))
        for one in (fitted(text, tokens, lambda t: len(llama3().read(t))), surely(text, tokens))
    ]
    assert max(counted) <= tokens
