"""A linear llm of three queues, trained once, and one that knows the demo's queues by their names."""

import json
from pathlib import Path

import pytest
from synthetic import ORIGIN, examples, named, teach

from models import taxonomy
from models.llm.calibration import Calibration
from models.llm.calibration_key import LINEAR as ENGINE
from models.llm.calibration_key import key
from models.llm.card import LINEAR, LINEAR_CARD, sha256
from models.llm.linear.store import save
from models.llm.linear.training import Trained
from models.llm.linear.writing import write
from service.settings import DEMO_LLMS


@pytest.fixture(scope="session")
def trained() -> Trained:
    return teach(examples())


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    write(trained, tmp_path / "linear", ORIGIN)
    return tmp_path / "linear"


@pytest.fixture(scope="module")
def of_queues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knows the demo's queues by their names, with a made-up temperature."""
    folder = tmp_path_factory.mktemp("llm") / "linear"
    folder.mkdir()
    labels = [label.id for label in taxonomy.load(DEMO_LLMS / "taxonomy.yaml").fields_["category"].labels]
    save(named({"category": labels}), folder / LINEAR)
    codes = {label: label for label in labels}
    digest = sha256(folder / LINEAR)
    fit = Calibration(0.5, "made-up", 100, key(digest, ENGINE, "text-1", "category", codes))
    card = {
        "name": "linear",
        "digest": digest,
        "family": "linear",
        "prompt_version": "text-1",
        "codes": {"category": codes},
        "calibration": {"category": fit.document()},
    }
    (folder / LINEAR_CARD).write_text(json.dumps(card))
    return folder
