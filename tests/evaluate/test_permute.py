"""evaluate --permute-codes: the same tickets with the labels in other orders, for llms not trained on them."""

import json
import math
import shutil
from types import SimpleNamespace

import pytest
from shipped import SHIPPED, write

from models.llm.answer import answer
from models.taxonomy import Taxonomy
from service.cli.evaluate import permuting
from service.cli.evaluate.asking import Asked
from service.cli.evaluate.labelled import Labelled
from service.settings import DEMO_LLMS

YAML = """
engines: {e: {kind: llamacpp, parallel: 2}}
llms:
  stock: {engine: e, model: stock.gguf, family: plain}
  primary: {engine: e, model: "demo:primary"}
policy: {primary: stock, fallback: primary}
"""
SMALL = "fields: {category: {labels: [{id: refunds}, {id: transfers}, {id: card_payments}, {id: other}]}}"


@pytest.fixture
def stock(folder):
    """A folder with an untrained llm: the primary's weights without their card."""
    shutil.copyfile(DEMO_LLMS / "primary.gguf", folder / "stock.gguf")
    (folder / "triage.yaml").write_text(YAML)
    (folder / "taxonomy.yaml").write_text(SMALL)
    wanted = ("refunds", "transfers", "card_payments")
    rows = [{"body": t["body"], "label": label} for t in SHIPPED if (label := t["label"]["category"]) in wanted][:12]
    write(folder / "test.jsonl", rows)
    return folder


def test_an_untrained_llm_is_asked_in_every_order_and_a_trained_one_in_its_own(triage, stock):
    ran = triage(
        *("evaluate", "--test", "test.jsonl", "--llm", "stock", "--llm", "primary", "--policy"),
        *("--permute-codes", "4", "--json", "o.json"),
    )
    assert ran.code == 0, ran.err
    found = json.loads((stock / "o.json").read_text())
    one = found["permuted"]["stock"]["category"]
    assert (found["permuted"].keys(), one["orders"], one["n"]) == ({"stock"}, 4, 12)
    assert one["spread"] == max(one["accuracy"]) - min(one["accuracy"])
    assert 0 <= one["changed"]["value"] <= 1
    assert one["averaged"]["n"] == 12
    # The first order is the taxonomy's own; llama.cpp rounds differently from batch to batch.
    (alone,) = (result for result in found["results"] if result["llm"] == "stock")
    assert one["accuracy"][0] == pytest.approx(alone["accuracy"], abs=1.01 / 12)
    assert "primary: its codes are trained, so they cannot be permuted." in found["notes"]
    assert "stock, field category, 4 orders of the labels: accuracy" in ran.err


def test_without_the_option_nothing_is_permuted(triage, stock):
    write(stock / "test.jsonl", [{"body": "a refund", "label": "refunds"}])
    assert triage("evaluate", "--test", "test.jsonl", "--llm", "stock", "--json", "o.json").code == 0
    found = json.loads((stock / "o.json").read_text())
    assert found["permuted"] == {}
    assert triage("evaluate", "--test", "test.jsonl", "--permute-codes", "1").code == 2


def test_no_label_keeps_its_place():
    taxonomy = Taxonomy.model_validate({"fields": {"f": {"labels": [{"id": str(n)} for n in range(10)]}}})
    orders = [[label.id for label in permuting.turned(taxonomy, order, 4).fields_["f"].labels] for order in range(4)]
    assert orders[0] == [str(n) for n in range(10)]
    for place in zip(*orders, strict=True):
        assert len(set(place)) == 4


def outcome(p):
    """What an llm said that gives `a` the probability p."""
    codes = {"a": "A", "b": "B"}
    found = answer({"A": math.log(p), "B": math.log(1 - p)}, codes, None)
    return {"f": SimpleNamespace(said=[SimpleNamespace(opinion=SimpleNamespace(answer=found))])}


def test_figures_over_the_rows_that_were_answered_in_every_order():
    taxonomy = Taxonomy.model_validate({"fields": {"f": {"labels": [{"id": "a"}, {"id": "b"}]}}})
    rows = [Labelled(str(n), "", "x", "x", {"f": label}) for n, label in enumerate(["a", "a", "b", "a", "oos"])]
    first = [outcome(p) for p in (0.9, 0.9, 0.4, 0.9, 0.9)]
    second = [*(outcome(p) for p in (0.8, 0.4, 0.2)), None, outcome(0.9)]
    found = permuting._figures([Asked(rows, first, 1.0), Asked(rows, second, 1.0)], "f", taxonomy)
    assert (found["n"], found["accuracy"]) == (3, [1.0, pytest.approx(2 / 3)])
    assert found["spread"] == pytest.approx(1 / 3)
    assert (found["changed"]["successes"], found["changed"]["n"]) == (1, 3)
    assert found["averaged"]["successes"] == 3
    (said,) = permuting.told({"x": {"f": found}}, ["x"])
    assert said.startswith("x, field f, 2 orders of the labels: accuracy 0.667 to 1.000; all orders averaged 1.000")
    none = permuting._figures([Asked(rows[3:4], [None], 1.0)], "f", taxonomy)
    assert permuting.told({"x": {"f": none}}, []) == [
        "x, field f: no ticket was answered in every order of the labels."
    ]
