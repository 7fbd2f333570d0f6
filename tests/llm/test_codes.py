"""Codes: one token each, none shared, and no ticket can contain one."""

import pytest

from models.errors import ConfigError
from models.llm.codes import assign, resolve


def test_short_fields_get_letters_and_long_ones_pairs() -> None:
    codes = assign({"category": ["refunds", "other"], "intent": [str(n) for n in range(77)]})
    assert codes["category"] == {"refunds": "A", "other": "B"}
    assert list(codes["intent"].values())[:2] == ["Aa", "Ab"]
    assert codes["intent"]["76"] == "Cy"


def test_two_short_fields_share_no_code() -> None:
    codes = assign({"one": ["x", "y"], "two": ["x", "y"]})
    assert codes == {"one": {"x": "A", "y": "B"}, "two": {"x": "C", "y": "D"}}


def test_more_labels_than_codes_is_an_error() -> None:
    with pytest.raises(ConfigError, match="too many labels"):
        assign({"intent": [str(n) for n in range(26 * 26 + 1)]})


def test_no_code_survives_lower_casing() -> None:
    codes = assign({"category": ["a", "b"], "intent": [str(n) for n in range(600)]})
    assert all(code != code.lower() for labels in codes.values() for code in labels.values())


def test_resolving_asks_the_tokenizer_and_refuses_what_is_not_one_token() -> None:
    vocabulary = {"A": [36], "B": [37], "Aa": [36, 60], "C": [37]}
    assert resolve(["A", "B"], vocabulary.__getitem__) == {"A": 36, "B": 37}
    with pytest.raises(ConfigError, match="'Aa' is 2 tokens"):
        resolve(["A", "Aa"], vocabulary.__getitem__)
    with pytest.raises(ConfigError, match="Two codes are the same token"):
        resolve(["B", "C"], vocabulary.__getitem__)
