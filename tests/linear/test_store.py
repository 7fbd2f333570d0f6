"""The file of a linear llm: what is saved is what is loaded, and nothing else is."""

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from synthetic import ORIGIN, examples, teach

from models.errors import ConfigError, EngineDown
from models.llm.card import load_card
from models.llm.linear.store import load, types
from models.llm.linear.training import Trained
from models.llm.linear.writing import write


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = skops.io.load(folder / "model.skops", trusted=[])
    return found


def test_what_is_saved_is_what_is_loaded(trained: Trained, folder: Path) -> None:
    texts = ["my card is blocked", "", "zebra", "money back please"]
    loaded = load(folder / "model.skops")
    one, other = (model.say(model.rows(texts), "category") for model in (trained.model, loaded))
    np.testing.assert_array_equal(one.logprobs, other.logprobs)
    np.testing.assert_array_equal(one.scope, other.scope)
    assert one.labels == other.labels


def test_the_folder_says_what_it_is(trained: Trained, folder: Path) -> None:
    card = load_card(folder)
    report = trained.reports["category"]
    assert (card.family, card.prompt_version, card.demo) == ("linear", "text-1", False)
    assert card.codes == {"category": {label: label for label in report.labels}}
    assert card.calibration["category"].temperature == report.temperature
    assert card.calibration["category"].id == f"{card.digest[:8]}-category-240"
    written = json.loads((folder / "card.json").read_text())
    assert written["fields"]["category"]["accuracy"]["value"] == report.accuracy.value
    assert set(written["versions"]) >= {"scikit-learn", "skops"}
    assert "0" * 64 in (folder / "ATTRIBUTION.md").read_text()


def test_an_llm_that_was_not_calibrated_has_no_calibration(tmp_path: Path) -> None:
    write(teach(examples(n=99)), tmp_path / "few", ORIGIN)
    assert load_card(tmp_path / "few").calibration == {}


def test_the_same_training_gives_the_same_file(trained: Trained, folder: Path, tmp_path: Path) -> None:
    """Whoever trains again can see that it is the same llm, and what was fitted for it still counts."""
    write(teach(examples()), tmp_path / "again", ORIGIN)
    assert load_card(tmp_path / "again").digest == load_card(folder).digest
    with zipfile.ZipFile(folder / "model.skops") as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("foreign", [LogisticRegression(), np.random.default_rng(0), print, {1, 2}])
def test_a_foreign_type_is_refused(folder: Path, foreign: object) -> None:
    path = folder / "model.skops"
    skops.io.dump(content(folder) | {"words": foreign}, path)
    with pytest.raises(ConfigError, match=r"holds .*, which no linear llm has: it is not loaded"):
        load(path)


def test_a_type_that_only_the_schema_names_is_refused_before_anything_is_made(folder: Path) -> None:
    path = folder / "model.skops"
    with zipfile.ZipFile(path) as file:
        schema = json.loads(file.read("schema.json"))
        rest = {name: file.read(name) for name in file.namelist() if name != "schema.json"}
    schema["content"]["form"] = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "content": ""}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("schema.json", json.dumps(schema))
        for name, data in rest.items():
            file.writestr(name, data)
    assert "os.system" in types(path)
    with pytest.raises(ConfigError, match=r"holds os\.system"):
        load(path)


@pytest.mark.parametrize("data", [b"", b"PK", pickle.dumps({"form": 1})])
def test_what_is_no_such_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.skops").write_bytes(data)
    with pytest.raises(ConfigError, match="is not a linear llm that triage train linear wrote"):
        load(tmp_path / "model.skops")


def test_parts_that_do_not_fit_together_are_refused(folder: Path) -> None:
    good = content(folder)
    head = good["fields"]["category"]
    wrong = [
        ({"form": 2}, "form 2 is not 1"),
        ({"idf": good["idf"][:1]}, "differ in number"),
        ({"fields": {"category": head | {"matrix": head["matrix"][1:]}}}, "the wrong shape"),
        ({"fields": {"category": head | {"bias": head["bias"] * np.nan}}}, "not all numbers"),
        ({"fields": {"category": head | {"matrix": [1, 2]}}}, "is not a linear llm"),
    ]
    for change, sentence in wrong:
        skops.io.dump(good | change, folder / "model.skops")
        with pytest.raises(ConfigError, match=sentence):
            load(folder / "model.skops")


def test_a_changed_file_is_not_the_cards(folder: Path) -> None:
    skops.io.dump(content(folder), folder / "model.skops")
    with pytest.raises(ConfigError, match="the SHA-256 differs"):
        load_card(folder)


def test_a_folder_that_is_not_there_may_come_later(tmp_path: Path) -> None:
    with pytest.raises(EngineDown, match="no linear llm at"):
        load_card(tmp_path / "linear")
