"""The engines of the contract, each with a place where weights can be put under a card's name and taken away again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import ollama as admin
import pytest
from cloud import Cloud, cloud
from standin import ollama
from synthetic import named

from models.llm.card import LINEAR, Card, sha256
from models.llm.linear.store import save
from workers.engines.base import Engine
from workers.engines.linear import Linear
from workers.engines.llamacpp import CONTEXT, LlamaCpp
from workers.engines.ollama import Ollama
from workers.engines.openai import OpenAi

# The settings of a model made for Triage.
PARAMETERS = {"num_ctx": CONTEXT, "num_batch": 512, "num_gpu": 99, "temperature": 0, "repeat_penalty": 1.0}
REAL = "TRIAGE_TEST_OLLAMA"
LATE = "triage-test-late"


class Place(Protocol):
    """Makes engines; `put` gives them weights from a file, and the card under which they then load them."""

    def engine(self, parallel: int = 4) -> Engine: ...

    def put(self, card: Card, gguf: Path, name: str | None = None) -> Card: ...

    def nowhere(self, card: Card) -> Card:
        """A card whose weights are not there yet; `put` with the name LATE brings them."""


class Files:
    """llama.cpp: the weights are a file."""

    def __init__(self, folder: Path):
        self.folder = folder

    def engine(self, parallel: int = 4) -> Engine:
        return LlamaCpp(self.folder / "run", parallel=parallel)

    def put(self, card: Card, gguf: Path, name: str | None = None) -> Card:
        path = self.folder / f"{name or card.name}.gguf"
        path.write_bytes(gguf.read_bytes())
        return replace(card, path=path)

    def nowhere(self, card: Card) -> Card:
        return replace(card, path=self.folder / f"{LATE}.gguf")


class Folders:
    """Linear llms: the weights are a folder. They are not the GGUF's, and know the labels by their names."""

    def __init__(self, folder: Path):
        self.folder = folder

    def engine(self, parallel: int = 4) -> Engine:
        return Linear(parallel=parallel)

    def put(self, card: Card, gguf: Path, name: str | None = None) -> Card:
        path = self.folder / (name or card.name) / LINEAR
        path.parent.mkdir(exist_ok=True)
        save(named(card.codes), path)
        codes = {field: {label: label for label in labels} for field, labels in card.codes.items()}
        return replace(card, path=path, digest=sha256(path), prompt_version="text-1", codes=codes, calibration={})

    def nowhere(self, card: Card) -> Card:
        return replace(card, path=self.folder / LATE / LINEAR)


class Server:
    """An Ollama: the weights are a model that was created there. What it makes of a file is written on the card."""

    def __init__(self, url: str):
        self.url = url
        self.client = admin.Client(url, timeout=60)
        self.created: set[str] = set()

    def engine(self, parallel: int = 4) -> Engine:
        models = {"tiny-primary": "triage-test-primary", "tiny-fallback": "triage-test-fallback", LATE: LATE}
        return Ollama(self.url, models, parallel=parallel)

    def put(self, card: Card, gguf: Path, name: str | None = None) -> Card:
        model = name or card.name.replace("tiny", "triage-test")
        self.client.create(model, files={"m.gguf": self.client.create_blob(gguf)}, parameters=PARAMETERS)
        self.created.add(model)
        (digest,) = [one.digest for one in self.client.list().models if one.model == f"{model}:latest"]
        return replace(card, served=(str(digest),))

    def nowhere(self, card: Card) -> Card:
        return replace(card, name=LATE)

    def clear(self) -> None:
        for model in self.created:
            self.client.delete(model)
        self.client.close()


class Clouded:
    """llama.cpp's own OpenAI-compatible server: the weights are a model that it serves under a name."""

    def __init__(self, cloud: Cloud):
        self.cloud = cloud

    def engine(self, parallel: int = 4) -> Engine:
        models = {"tiny-primary": "triage-test-primary", "tiny-fallback": "triage-test-fallback", LATE: LATE}
        return OpenAi(self.cloud.url, models, parallel=parallel)

    def put(self, card: Card, gguf: Path, name: str | None = None) -> Card:
        model = name or card.name.replace("tiny", "triage-test")
        self.cloud.add(model, gguf)
        return replace(card, served=(f"{model}/completions",))

    def nowhere(self, card: Card) -> Card:
        if not self.cloud.models:  # one that lists nothing does not say what it lacks
            self.cloud.add("another", card.path)
        return replace(card, name=LATE)


@contextmanager
def place(kind: str, folder: Path) -> Iterator[Place]:
    """llamacpp, linear, openai (llama.cpp's own server), ollama-VERSION (a stand-in), or ollama-real."""
    if kind == "llamacpp":
        yield Files(folder)
    elif kind == "linear":
        yield Folders(folder)
    elif kind == "openai":
        with cloud() as made:
            yield Clouded(made)
    elif kind == "ollama-real":
        if REAL not in os.environ:
            pytest.skip(f"no real Ollama: {REAL} is not set")
        yield from _cleared(Server(os.environ[REAL]))
    else:
        with ollama(folder, version=kind.removeprefix("ollama-")) as standin:
            yield from _cleared(Server(standin.url))


def _cleared(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.clear()
