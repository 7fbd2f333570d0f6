"""A cloud with both demo llms, and engines on it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cards import card_of
from cloud import Cloud, cloud
from clouded import Clouded
from sqlalchemy import Engine

import models.llm
from models.llm.card import Card
from service.settings import Loaded
from workers.engines.openai import OpenAi

DEMO = Path(models.llm.__file__).parent / "demo"
MODELS = {"tiny-primary": "first", "tiny-fallback": "second"}


@pytest.fixture(scope="session")
def llamas() -> Iterator[Cloud]:
    """The servers behind, which no test changes."""
    with cloud() as made:
        for name, model in (("primary", "first"), ("fallback", "second")):
            made.add(model, DEMO / f"{name}.gguf")
        yield made


@pytest.fixture
def made(llamas: Cloud) -> Iterator[Cloud]:
    """A cloud of the test's own."""
    with cloud(models=dict(llamas.models)) as found:
        yield found


@pytest.fixture
def card() -> Card:
    """The primary's, for what the cloud calls `first`."""
    return replace(card_of("primary"), served=("first/completions",))


@pytest.fixture
def engine(made: Cloud) -> Iterator[Callable[..., OpenAi]]:
    """Makes engines on the cloud."""
    engines: list[OpenAi] = []

    def make(**settings: Any) -> OpenAi:
        engines.append(OpenAi(made.url, MODELS, **settings))
        return engines[-1]

    yield make
    for one in engines:
        one.close()


@pytest.fixture
def clouded(made: Cloud, loaded: Loaded, database: Engine, tmp_path: Path) -> Iterator[Clouded]:
    found = Clouded(made, loaded, database, tmp_path, [])
    yield found
    for llms in found.made:
        llms.close()
