"""A stock llm with a prior alone never automates, however sure it is; with a temperature it may."""

import shutil
from dataclasses import replace

import pytest

from models import taxonomy
from models.db import transaction
from models.llm import calibration
from models.llm.calibration import Calibration
from models.llm.calibration_key import key_of, scored_by
from service.config import Config
from service.settings import DEMO_LLMS
from workers import cascade
from workers.engines.llamacpp import LlamaCpp
from workers.runtime import Runtime

PRIOR = {"refunds": -4.0, "top_up": -0.5}
LABELS = [{"id": "refunds", "automate_at": 0.01}, {"id": "top_up", "automate_at": 0.01}]


@pytest.fixture
def stock(loaded, database, tmp_path):
    """Makes a worker whose only llm is the tiny one, asked as if it were a stock model, with this in its file."""
    (tmp_path / "own").mkdir()
    shutil.copyfile(DEMO_LLMS / "primary.gguf", tmp_path / "own" / "stock.gguf")
    with transaction(database) as session:
        taxonomy.store(session, taxonomy.Taxonomy.model_validate({"fields": {"category": {"labels": LABELS}}}))
    config = {
        "engines": {"e": {"kind": "llamacpp", "parallel": 1}},
        "llms": {"stock": {"engine": "e", "model": "stock.gguf", "family": "llama3", "calibration": "stock.json"}},
        "policy": {"primary": "stock", "escalate_below": 0.0},
    }
    found = loaded.model_copy(update={"config": Config.model_validate(config), "folder": tmp_path / "own"})
    made = []

    def make(engines=(), **fit):
        worker = Runtime(found, tmp_path / f"run{len(made)}")
        made.append(worker)
        worker.look()
        llm = worker.llms.all["stock"]
        assert llm.error is None
        key = key_of(llm.card, scored_by("llamacpp", llm.engine.version), "category")
        key = replace(key, engines=engines or key.engines)
        calibration.write(tmp_path / "own" / "stock.json", "0" * 64, {"category": Calibration(key=key, **fit)})
        llm.error = "to be loaded again"
        worker.look()
        worker.beat()
        return worker

    yield make
    for worker in made:
        worker.close()


@pytest.mark.parametrize(
    ("temperature", "decided"),
    [(None, (False, "review", "uncalibrated")), (1.0, (True, "automate", "above_threshold"))],
)
def test_only_a_temperature_lets_it_automate(stock, client, sql, monkeypatch, temperature, decided):
    monkeypatch.setattr(cascade, "MASS_FLOOR", 0.0)  # these weights never saw such a prompt
    worker = stock(temperature=temperature, id="fit", n=500, prior=PRIOR)
    client.post("/v1/tickets", json={"body": "I want a refund"})
    worker.work()
    assert sql("SELECT calibrated, action, reason FROM triages") == [decided]
    state = "batch-calibrated" if temperature is None else "calibrated"
    assert shown(client, "fit") == {"category": {"state": state, "n": 500, "why": None}}


def test_one_that_was_fitted_for_something_else_is_not_used_and_the_catalog_says_why(stock, client, sql):
    worker = stock(temperature=1.0, id="fit", n=500, prior=PRIOR, engines=("llamacpp 1",))
    client.post("/v1/tickets", json={"body": "I want a refund"})
    worker.work()
    assert sql("SELECT calibrated, action, reason FROM triages") == [(False, "review", "uncalibrated")]
    ((scores,),) = sql("SELECT scores FROM predictions WHERE confidence = raw_confidence")
    assert scores.keys() == PRIOR.keys()
    state = shown(client, None)["category"]
    assert (state["state"], state["n"]) == ("uncalibrated", None)
    assert f"it was fitted for another engine (llamacpp 1, and this is llamacpp {LlamaCpp.version})" in state["why"]


def shown(client, calibration_id):
    """What the catalog says of the llm as it is loaded now; older versions of it have no state."""
    items = client.get("/v1/llms").json()["items"]
    assert [one["calibration"] for one in items[1:]] == [None] * len(items[1:])
    assert items[0]["calibration_id"] == calibration_id
    return items[0]["calibration"]
