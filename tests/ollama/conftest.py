"""A stand-in with both demo llms, and an engine and a worker on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cards import card_of, write_card
from places import PARAMETERS
from standin import Standin, ollama

import models.llm
from models.llm.card import Card
from service.config import Config
from service.settings import Loaded
from workers.engines.ollama import Ollama
from workers.runtime import Runtime

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
    return card_of("primary")


@pytest.fixture
def other() -> Card:
    return card_of("fallback")


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


@pytest.fixture
def one_in_ollama(standin: Standin, loaded: Loaded, tmp_path: Path) -> Loaded:
    """The primary in Ollama, and no other llm."""
    config = loaded.config.model_dump() | {
        "engines": {"ollama": {"kind": "ollama", "url": standin.url, "parallel": 2}},
        "llms": {"primary": {"engine": "ollama", "model": "triage-primary", "card": write_card(tmp_path, "primary")}},
        "policy": {"primary": "primary", "fallback": None, "shadow_rate": 0.0},
    }
    return loaded.model_copy(update={"config": Config.model_validate(config), "folder": tmp_path})


@pytest.fixture
def worker(one_in_ollama: Loaded, tmp_path: Path) -> Iterator[Runtime]:
    """One that does only what it is told to, with its llm loaded."""
    runtime = Runtime(one_in_ollama, tmp_path)
    assert runtime.llms.load()
    yield runtime
    runtime.close()
