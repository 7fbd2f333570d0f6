"""A linear llm of three queues, trained once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from synthetic import WORDS, tickets

from models.llm.linear.training import Example, Trained, train
from models.llm.linear.writing import write

FIELDS: Mapping[str, Sequence[str]] = {"category": list(WORDS)}
ORIGIN = {"data": "tickets.jsonl", "data_sha256": "0" * 64}


def examples(**options: object) -> list[Example]:
    return [Example(row["body"], {"category": row["label"]}) for row in tickets(**options)]


def teach(rows: Sequence[Example], fields: Mapping[str, Sequence[str]] = FIELDS) -> Trained:
    return train(rows, fields, frozenset({"other"}), lambda done: None)


@pytest.fixture(scope="session")
def trained() -> Trained:
    return teach(examples())


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    write(trained, tmp_path / "linear", ORIGIN)
    return tmp_path / "linear"
