"""What a calibration belongs to: each part that is another one is named, and nothing is used that was fitted for it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import models.llm
from models.errors import ConfigError
from models.llm import calibration
from models.llm.calibration import Calibration, parse, read, write
from models.llm.calibration_key import Key, key, key_of, scored_by
from models.llm.card import load_card

DEMO = Path(models.llm.__file__).parent / "demo"
LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
CODES = {"refunds": "A", "other": "B"}
KEY = key("f" * 64, "ollama 0.24.0", "tuned-1", "category", CODES, "category: ...")
FIT = Calibration(1.5, "fit", 300, KEY)
PRIOR = {"refunds": -0.5, "other": -2.0}


def now(weights: str = "f" * 64, engine: str = "ollama 0.24.0", prompt: str = "tuned-1", **changed: Any) -> Key:
    given: dict[str, Any] = {"name": "category", "codes": CODES, "header": "category: ..."} | changed
    return key(weights, engine, prompt, **given)


def test_it_counts_for_what_it_was_fitted_for() -> None:
    assert FIT.refused(now(), "mistral") is None
    assert FIT.refused(now(codes=dict(reversed(CODES.items()))), "mistral") is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"weights": "e" * 64}, "other weights"),
        ({"engine": "ollama 0.32.15"}, "another engine (ollama 0.24.0, and this is ollama 0.32.15)"),
        ({"engine": "llamacpp 0.0.0"}, "another engine (ollama 0.24.0, and this is llamacpp 0.0.0)"),
        ({"prompt": "text-1"}, "another prompt"),
        ({"header": "category: other words"}, "other words about the labels in the prompt"),
        ({"codes": {"refunds": "B", "other": "A"}}, "other codes"),
        ({"codes": {"refunds": "A", "other": "B", "cards": "C"}}, "other labels"),
        ({"codes": {"refunds": "A/A", "other": "B/A"}}, "other codes and another way of scoring codes"),
        ({"name": "intent"}, "another field"),
        ({"weights": "e" * 64, "prompt": "text-1"}, "other weights and another prompt"),
    ],
)
def test_anything_else_is_named(changed: dict[str, Any], named: str) -> None:
    field = changed.get("name", "category")
    assert FIT.refused(now(**changed), "mistral") == (
        f"The calibration of mistral does not count for field {field}, because it was fitted for {named}: "
        "run triage calibrate again."
    )


def test_an_engine_that_does_not_say_its_version_is_trusted() -> None:
    assert FIT.refused(now(engine="ollama 0.0.0"), "mistral") is None


def test_one_that_does_not_say_what_it_was_fitted_for_does_not_count() -> None:
    why = replace(FIT, key=None).refused(now(), "mistral")
    assert why is not None
    assert "because it does not say what it was fitted for: run triage calibrate again" in why


def test_every_part_of_the_key_has_its_words() -> None:
    for part in vars(KEY):
        other = ("linear 1",) if part == "engines" else "another"
        assert len(replace(KEY, **{part: other}).others(KEY)) == 1, part


def test_what_an_engine_is_called() -> None:
    assert scored_by("linear", "1.9.1") == scored_by("linear", "2.0") == "linear 1"
    assert scored_by("openai", "v1", ("first/gpt/completions",)) == "openai completions"
    assert scored_by("ollama", "0.24.0", ("a" * 64,)) == "ollama 0.24.0"


def test_the_three_states() -> None:
    assert calibration.told(calibration.shown(None, None)) == "uncalibrated"
    assert calibration.told(calibration.shown(FIT, None)) == "calibrated (n 300)"
    batch = Calibration(None, "prior", 1500, KEY, PRIOR)
    assert calibration.told(calibration.shown(batch, None)) == "batch-calibrated (n 1,500)"
    assert calibration.told(calibration.shown(None, "Why.")) == "uncalibrated. Why."


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    place = tmp_path / "mistral.json"
    assert read(place) == {}
    write(place, "0" * 64, {"category": FIT})
    both = {"category": FIT, "intent": Calibration(None, "prior", 500, replace(KEY, field="intent"), PRIOR)}
    write(place, "1" * 64, {"intent": both["intent"]})
    assert read(place) == both
    assert json.loads(place.read_text())["data_sha256"] == "1" * 64


@pytest.mark.parametrize(
    "content",
    [
        "[]", "{", '{"calibration": []}', '{"calibration": {"category": {"id": "a", "n": 1}}}',
        '{"calibration": {"category": {"id": "a", "n": 1, "temperature": 1, "key": {"weights": "a"}}}}',
        '{"calibration": {"category": {"id": "a", "n": 1, "prior": {"refunds": NaN}}}}',
        '{"calibration": {"category": {"id": "a", "n": 1, "temperature": 900}}}',
    ],
)  # fmt: skip
def test_a_broken_file_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "own.json").write_text(content)
    with pytest.raises(ConfigError, match="is no calibration that triage calibrate wrote"):
        read(tmp_path / "own.json")


def test_a_card_of_before_has_a_state_that_says_nothing() -> None:
    found = parse({"category": {"temperature": 1.5, "id": "old", "n": 9, "state": "fitted"}})
    assert (found["category"].temperature, found["category"].key) == (1.5, None)


@pytest.mark.parametrize("name", ["primary", "fallback"])
def test_the_demo_is_calibrated_for_the_engines_it_was_measured_on(name: str) -> None:
    locked = re.search(r"^xllamacpp==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert locked is not None
    card = load_card(DEMO / f"{name}.gguf")
    for engine in (f"llamacpp {locked[1]}", "ollama 0.24.0", "ollama 0.32.15", "openai completions"):
        for field, fit in card.calibration.items():
            assert fit.refused(key_of(card, engine, field), name) is None, (
                f"The demo's cards were not made for {engine}. If tests/engines/test_parity.py passes with it, its "
                "scores are those that were calibrated: add it to `engines` of every `key` in "
                "models/llm/demo/primary.json and fallback.json."
            )
