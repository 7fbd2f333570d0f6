"""Cards: what is read, and the sentence for each way in which one can be wrong; and the two that we ship."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest

import models.llm
from models.errors import ConfigError, EngineDown
from models.llm.card import load_card, sha256

DEMO = Path(models.llm.__file__).parent / "demo"


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"weights")
    return path


def content(path: Path) -> dict[str, Any]:
    return {
        "name": "x",
        "digest": sha256(path),
        "family": "tiny",
        "prompt_version": "tuned-1",
        "codes": {"category": {"refunds": "A", "other": "B"}},
        "calibration": {"category": {"temperature": 1.5, "id": "c1", "n": 9, "state": "fitted"}},
        "demo": True,
    }


def write(path: Path, **changes: Any) -> None:
    path.with_suffix(".json").write_text(json.dumps(content(path) | changes))


def test_a_card_is_read(gguf_file: Path) -> None:
    write(gguf_file)
    card = load_card(gguf_file)
    assert (card.name, card.path, card.demo) == ("x", gguf_file, True)
    assert card.codes["category"] == {"refunds": "A", "other": "B"}
    assert (card.calibration["category"].temperature, card.calibration["category"].n) == (1.5, 9)


def test_calibration_and_demo_are_optional(gguf_file: Path) -> None:
    write(gguf_file, calibration={}, demo="yes")
    assert load_card(gguf_file).calibration == {}
    assert not load_card(gguf_file).demo


def test_a_card_alone_stands_for_weights_elsewhere(gguf_file: Path) -> None:
    write(gguf_file, served=["abc"])
    gguf_file.unlink()
    card = load_card(gguf_file.with_suffix(".json"))
    assert (card.path, card.served) == (gguf_file, ("abc",))
    gguf_file.with_suffix(".json").unlink()
    with pytest.raises(ConfigError, match="no card at"):
        load_card(gguf_file.with_suffix(".json"))


def test_a_missing_gguf_may_come_later(tmp_path: Path) -> None:
    with pytest.raises(EngineDown, match="no GGUF file"):
        load_card(tmp_path / "none.gguf")


def test_a_missing_card(gguf_file: Path) -> None:
    with pytest.raises(ConfigError, match="no card at"):
        load_card(gguf_file)


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "\x00"])
def test_a_card_that_is_no_object(gguf_file: Path, text: str) -> None:
    gguf_file.with_suffix(".json").write_text(text)
    with pytest.raises(ConfigError, match=r"cannot be read|must be a JSON object"):
        load_card(gguf_file)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"digest": "0" * 64}, "not the file its card describes"),
        ({"codes": {"category": {"a": "A", "b": "A"}}}, "a code of its own"),
        ({"codes": {"category": {}}}, "a code of its own"),
        (
            {"codes": {"category": {"a": "A", "b": "B"}, "priority": {"c": "B"}}},
            "the fields 'category' and 'priority' share the code 'B'",
        ),
        ({"codes": ["A"]}, "is broken"),
        ({"calibration": {"category": {"temperature": 0, "id": "c", "n": 1, "state": "fitted"}}}, "temperature 0"),
        ({"calibration": {"category": {"temperature": 1}}}, "is broken"),
    ],
)
def test_a_broken_card_is_a_sentence(gguf_file: Path, changes: dict[str, Any], sentence: str) -> None:
    write(gguf_file, **changes)
    with pytest.raises(ConfigError, match=sentence):
        load_card(gguf_file)


def test_the_codes_of_a_linear_llm_are_labels_which_fields_may_share(gguf_file: Path) -> None:
    codes = {"category": {"other": "other"}, "priority": {"other": "other"}}
    write(gguf_file, codes=codes, family="linear")
    assert load_card(gguf_file).codes == codes


@pytest.mark.parametrize("missing", ["name", "digest", "codes", "prompt_version", "family"])
def test_a_missing_key_is_named(gguf_file: Path, missing: str) -> None:
    short = {key: value for key, value in content(gguf_file).items() if key != missing}
    gguf_file.with_suffix(".json").write_text(json.dumps(short))
    with pytest.raises(ConfigError, match=f"lacks '{missing}'"):
        load_card(gguf_file)


@pytest.mark.parametrize("name", ["primary", "fallback"])
def test_the_demo_llms_codes_are_ordinary_tokens(name: str) -> None:
    """A control token would have no log-probability in Ollama, a user-defined one would be read out of tickets."""
    card = load_card(DEMO / f"{name}.gguf")
    fields = gguf.GGUFReader(card.path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    codes = [code for labels in card.codes.values() for code in labels.values()]
    assert {kinds[tokens.index(code)] for code in codes} == {gguf.TokenType.NORMAL}
    assert len(codes) == 11 + 77
    assert card.demo
    assert {fit.state for fit in card.calibration.values()} == {"calibrated"}


def test_the_demo_stays_small_and_is_described() -> None:
    assert sum(path.stat().st_size for path in DEMO.glob("*.gguf")) < 6_000_000
    for path in DEMO.glob("*.gguf"):
        assert sha256(path) in path.with_suffix(".md").read_text(encoding="utf-8")


def test_the_fallbacks_card_says_that_dev_was_read_twice() -> None:
    """A second reading, made because the first fell short, is worth less; whoever cites the figure must know."""
    text = (DEMO / "fallback.md").read_text(encoding="utf-8")
    assert "dev rows read twice" in text
    assert "A first fallback reached 0.934" in text
    assert "learned the rows to fit and to choose" in text
