"""A stand-in with both demo llms, and an engine on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from places import PARAMETERS
from standin import Standin, ollama

import models.llm
from models.llm.card import Card, load_card
from workers.engines.ollama import Ollama

DEMO = Path(models.llm.__file__).parent / "demo"
MODELS = {"tiny-primary": "triage-primary", "tiny-fallback": "triage-fallback"}


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[Standin]:
    """Of the older kind, which keeps a GGUF as it is, so that the shipped cards are about what it serves."""
    with ollama(tmp_path, version="0.24.0") as made:
        for name in ("primary", "fallback"):
            made.add(f"triage-{name}", DEMO / f"{name}.gguf", **PARAMETERS)
        yield made


@pytest.fixture
def card() -> Card:
    return load_card(DEMO / "primary.gguf")


@pytest.fixture
def other() -> Card:
    return load_card(DEMO / "fallback.gguf")


@pytest.fixture
def engine(standin: Standin) -> Iterator[Callable[..., Ollama]]:
    """Makes engines on the stand-in."""
    made: list[Ollama] = []

    def make(**settings: Any) -> Ollama:
        made.append(Ollama(standin.url, MODELS, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
