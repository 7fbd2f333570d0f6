"""The tokens that count as a code, in the real tokenizers: with and without a space, for an llm that knows no codes."""

from dataclasses import replace
from pathlib import Path

from stock_tokenizers import llama3, mistral

import models.llm
from models.llm.card import load_card
from workers.engines.tokens import ids

TRAINED = load_card(Path(models.llm.__file__).parent / "demo" / "primary.gguf")
CARD = replace(TRAINED, prompt_version="instruct-plain-1", codes={"category": {"refunds": "A", "cards": "AB"}})


def test_mistral_has_a_token_for_both() -> None:
    pieces = mistral().vocabulary()
    assert {"A", "\u2581A", "AB", "\u2581AB"} <= pieces
    found = ids(CARD, mistral().read)
    spaced = {code: mistral().read(code) for code in ("A", "AB")}
    assert all(len(found[code]) == 2 and set(spaced[code]) < set(found[code]) for code in spaced)
    assert len({id_ for own in found.values() for id_ in own}) == 4


def test_llama_3_has_a_token_for_both() -> None:
    found = ids(CARD, llama3().read)
    assert found == {code: sorted([*llama3().read(code), *llama3().read(f" {code}")]) for code in ("A", "AB")}
    assert [len(own) for own in found.values()] == [2, 2]
