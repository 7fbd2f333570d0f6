"""A linear llm of three queues, trained once."""

from pathlib import Path

import pytest
from synthetic import ORIGIN, examples, teach

from models.llm.linear.training import Trained
from models.llm.linear.writing import write


@pytest.fixture(scope="session")
def trained() -> Trained:
    return teach(examples())


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    write(trained, tmp_path / "linear", ORIGIN)
    return tmp_path / "linear"
