"""A worker tells an llm that was not trained on our prompts the labels in force, and again when they change."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

import models.llm
from models import taxonomy
from models.db import transaction
from models.errors import EngineDown
from models.llm.text import whole
from models.taxonomy import Taxonomy
from service.config import Config
from service.settings import Loaded
from workers.runtime import Runtime

GGUF = Path(models.llm.__file__).parent / "demo" / "primary.gguf"


def labels(*ids: str) -> Taxonomy:
    return Taxonomy.model_validate({"fields": {"category": {"labels": [{"id": id_} for id_ in ids]}}})


@pytest.fixture
def runtime(database: Engine, loaded: Loaded, tmp_path: Path) -> Iterator[Runtime]:
    config = {
        "engines": {"e": {"kind": "llamacpp", "parallel": 2}},
        "llms": {"stock": {"engine": "e", "model": str(GGUF), "family": "plain"}},
        "policy": {"primary": "stock"},
    }
    made = Runtime(loaded.model_copy(update={"config": Config.model_validate(config)}), tmp_path)
    yield made
    made.close()


def test_the_labels_in_force_are_those_it_is_asked_about(
    client: httpx.Client, database: Engine, runtime: Runtime, sql: Callable[..., list[Any]]
) -> None:
    for ids in (["cards", "money"], ["cards", "money", "other"]):
        with transaction(database) as session:
            taxonomy.store(session, labels(*ids))
        client.post("/v1/tickets", json={"body": "Where is my card?"}).raise_for_status()
        runtime.look()
        (row,) = sql("SELECT scores, calibrated, cut, taxonomy_version FROM predictions ORDER BY id DESC LIMIT 1")
        assert sorted(row[0]) == ids
        assert row[1:3] == (False, False)
    assert sql("SELECT prompt_version, engine, digest <> '' FROM llm_versions") == [
        ("instruct-plain-1", "llamacpp", True)
    ]
    assert sql("SELECT DISTINCT status FROM tickets") == [("done",)]
    assert sql("SELECT DISTINCT action FROM triages") == [("review",)]


def titled(title: str) -> Taxonomy:
    ids = [{"id": "cards", "title": title}, {"id": "money"}]
    return Taxonomy.model_validate({"fields": {"category": {"labels": ids}}})


@pytest.mark.parametrize("later", [labels("cards", "money", "other"), titled("Lost cards")])
def test_a_ticket_waits_until_the_llm_has_been_told_the_labels(
    client: httpx.Client, database: Engine, runtime: Runtime, sql: Callable[..., list[Any]], later: Taxonomy
) -> None:
    """No drain goes on with the old ones, or with the fallback alone."""
    with transaction(database) as session:
        taxonomy.store(session, labels("cards", "money"))
    runtime.look()
    with transaction(database) as session:
        version, _ = taxonomy.store(session, later)
    client.post("/v1/tickets", json={"body": "Where is my card?"}).raise_for_status()
    runtime.work()
    assert sql("SELECT status, attempts FROM tickets") == [("queued", 0)]
    llm = runtime.llms.all["stock"]
    with pytest.raises(EngineDown, match="has not been told the new labels yet"):
        llm.ask(whole("", "Where is my card?"), "category", later.fields_["category"])
    runtime.look()
    assert sql("SELECT status FROM tickets") == [("done",)]
    assert sql("SELECT taxonomy_version FROM predictions") == [(version,)]
    assert llm.card is not None
    assert ("Lost cards" in llm.card.header) == (later == titled("Lost cards"))


def test_an_llm_that_cannot_be_told_the_labels_stops_no_drain(runtime: Runtime) -> None:
    """It is not loaded then, and others stand in for it."""
    assert runtime.llms.load(labels("cards", "money"))
    many = labels(*(f"q{at}" for at in range(1000)))
    assert runtime.llms.behind(many)
    assert not runtime.llms.load(many)
    assert not runtime.llms.behind(many)
