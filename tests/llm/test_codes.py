"""Codes: one token each, none shared, and no ticket can contain one."""

import pytest

from models.errors import ConfigError
from models.llm.codes import CANDIDATES, assign, for_vocabulary, groups, resolve


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


def everything(text: str) -> bool:
    return True


def numbered(n: int) -> list[str]:
    return [f"label {at}" for at in range(n)]


def test_an_untrained_llm_gets_codes_from_its_own_vocabulary() -> None:
    codes = for_vocabulary({"category": ["x", "y"], "intent": numbered(40)}, lambda text: "B" not in text, None)
    assert codes["category"] == {"x": "A", "y": "C"}
    given = list(codes["intent"].values())
    assert given[:3] == ["D", "E", "F"]
    assert given[23:25] == ["AA", "AC"], "pairs of letters once the letters are used up"


@pytest.mark.parametrize(("n", "shows", "many"), [(2, 20, 0), (20, 20, 0), (77, 20, 5), (151, 20, 10), (151, None, 0)])
def test_a_field_longer_than_the_engine_shows_gets_groups(n: int, shows: int | None, many: int) -> None:
    codes = for_vocabulary({"category": ["x", "y"], "intent": numbered(n)}, everything, shows)["intent"]
    assert len(set(codes.values())) == n
    assert all(("/" in code) == (many > 0) for code in codes.values())
    firsts = [code.partition("/")[0] for code in codes.values()]
    assert firsts == sorted(firsts, key=CANDIDATES.index)
    assert not {"A", "B"} & set(firsts), "those are of another field"
    if many:
        sizes = [firsts.count(first) for first in dict.fromkeys(firsts)]
        assert len(sizes) == many
        assert max(sizes) - min(sizes) <= 1
        assert next(iter(codes.values())) == "C/A"


def test_a_small_vocabulary_makes_the_longest_field_one_of_groups() -> None:
    letters = set(CANDIDATES[:26])
    codes = for_vocabulary({"category": numbered(10), "intent": numbered(77)}, letters.__contains__, None)
    assert list(codes["category"].values()) == list("ABCDEFGHIJ")
    assert list(codes["intent"].values())[:2] == ["K/A", "K/B"]


def test_what_no_code_is_left_for_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="need 30 codes of one token each, and this llm has 26"):
        for_vocabulary({"one": numbered(15), "two": numbered(15)}, lambda text: len(text) == 1, 20)
    with pytest.raises(ConfigError, match="257 labels is too long for this llm, which can name 256 in 16 groups"):
        for_vocabulary({"one": numbered(257)}, everything, 20)


def test_labels_with_the_same_beginning_are_in_one_group() -> None:
    labels = ["card.lost", "other", "card.late", "money.back", "else", "card.pin"]
    assert groups(labels) == [["card.lost", "card.late", "card.pin"], ["other", "else"], ["money.back"]]
    many = [f"{n}.x" for n in range(20)]
    assert [len(group) for group in groups(many)] == [10, 10], "twenty groups would be too many"
    long = [f"a.{n}" for n in range(100)]
    assert [label for group in groups(long) for label in group] == long
