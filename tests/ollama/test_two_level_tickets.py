"""A ticket over codes of two levels: several questions, one prediction, whose times and tokens are those of all."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import taxonomies
from sqlalchemy import Engine
from standin import Standin

from models import taxonomy
from models.db import transaction
from models.llm.card import Card
from models.llm.prompt import render
from models.llm.text import prepare
from service.config import Config
from service.settings import Loaded
from workers.drain import Drain
from workers.llms import Llms

BODY = "My new card has not arrived yet"
LETTERS = "ABCDEFGHIJ"


@pytest.fixture
def drain(database: Engine, standin: Standin, card: Card, loaded: Loaded, tmp_path: Path) -> Iterator[Drain]:
    """The demo's 77 intents in groups of ten; each question is the one that the demo llm knows these letters from."""
    whole = taxonomies.demo("intent")
    with transaction(database) as session:
        taxonomy.store(session, whole.model_copy(update={"fields_": {"category": whole.fields_["intent"]}}))
    codes = {
        label.id: f"{LETTERS[at // 10]}/{LETTERS[at % 10]}" for at, label in enumerate(whole.fields_["intent"].labels)
    }
    described = {"name": "two", "digest": card.digest, "family": "tiny", "prompt_version": "tuned-1"}
    (tmp_path / "two.json").write_text(json.dumps(described | {"codes": {"category": codes}}))
    config = loaded.config.model_dump() | {
        "engines": {"ollama": {"kind": "ollama", "url": standin.url, "parallel": 2}},
        "llms": {"two": {"engine": "ollama", "model": "triage-primary", "card": str(tmp_path / "two.json")}},
        "policy": {"primary": "two"},
    }
    found = loaded.model_copy(update={"config": Config.model_validate(config)})
    llms = Llms(found, ["two"], tmp_path)
    assert llms.load(), [llm.error for llm in llms.all.values()]
    made = Drain(database, llms, found.config, 2)
    yield made
    made.pool.shutdown()
    llms.close()


def test_it_is_one_prediction_with_every_score_and_the_times_of_all_calls(
    drain: Drain, client: httpx.Client, standin: Standin, sql: Callable[..., list[Any]]
) -> None:
    before = len(standin.requests)
    posted = client.post("/v1/tickets", json={"body": BODY}).json()
    drain.run()
    prompt = render(prepare("", BODY).text, "category", "tuned-1")
    calls = [request for request in standin.requests[before:] if request.get("prompt")]
    assert len(calls) >= 2
    assert {request["prompt"] for request in calls} == {prompt}
    found = client.get(f"/v1/tickets/{posted['id']}").json()
    (said,) = found["predictions"]
    assert len(said["scores"]) == 77
    assert sum(said["scores"].values()) == pytest.approx(1)
    assert said["scores"][said["label"]] == said["confidence"] == max(said["scores"].values())
    assert (said["scores_complete"], said["calibrated"]) == (False, False)
    assert 0.5 < said["label_mass"] < 1
    (tokens,) = {weights.generate(calls[0])["prompt_eval_count"] for weights in standin.resident.values()}
    assert said["prompt_tokens"] == len(calls) * tokens
    parts = [said[name] for name in ("slot_ms", "load_ms", "prefill_ms", "decode_ms")]
    assert sum(parts) == pytest.approx(said["call_ms"])
    assert sql("SELECT label, action, reason FROM triages") == [(said["label"], "review", "uncalibrated")]
