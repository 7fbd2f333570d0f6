"""An llm that Triage did not train, on the command line: two lines of triage.yaml, and then it is like any other."""

import json
import shutil

import pytest
from places import PARAMETERS
from standin import ollama

from models.llm.card import sha256
from service.settings import DEMO_LLMS

HERE = """
engines: {e: {kind: llamacpp, parallel: 2}}
llms: {stock: {engine: e, model: stock.gguf, family: plain}}
policy: {primary: stock}
"""
THERE = """
engines: {{o: {{kind: ollama, url: {url}, parallel: 2}}}}
llms: {{stock: {{engine: o, model: stock, family: {family}}}}}
policy: {{primary: stock}}
"""
LABELS = """
fields:
  category:
    labels:
"""
SAYS = [{"id": "1", "body": "Where is my card?", "label": "q1"}, {"id": "2", "body": "I want my money", "label": "q2"}]


@pytest.fixture
def folder(triage, tmp_path):
    """A folder with the demo's weights under another name, without their card, and twelve labels of no meaning."""
    shutil.copyfile(DEMO_LLMS / "primary.gguf", tmp_path / "stock.gguf")
    (tmp_path / "triage.yaml").write_text(HERE)
    (tmp_path / "taxonomy.yaml").write_text(LABELS + "".join(f"    - {{id: q{n}}}\n" for n in range(12)))
    (tmp_path / "tickets.jsonl").write_text("".join(json.dumps(one) + "\n" for one in SAYS))
    return tmp_path


@pytest.fixture(params=["0.24.0", "0.32.15"])
def server(request, folder):
    (folder / "blobs").mkdir()
    with ollama(folder / "blobs", version=request.param) as standin:
        (folder / "triage.yaml").write_text(THERE.format(url=standin.url, family="plain"))
        standin.registry["stock"] = folder / "stock.gguf"
        yield standin


def test_list_show_and_doctor_say_what_it_is(triage, folder):
    digest = sha256(folder / "stock.gguf")
    (item,) = json.loads(triage("llm", "list", "--json").out)
    assert item["state"] == f"stock.gguf, SHA-256 {digest[:12]}"
    assert item["calibration"] == {"category": {"state": "uncalibrated", "n": None, "why": None}}
    shown = triage("llm", "show", "stock").out
    assert "instruct-plain-1" in shown
    assert "12 labels, uncalibrated" in shown
    says = {line["what"]: line for line in json.loads(triage("doctor", "--json").out)}
    assert says["taxonomy"] == {"what": "taxonomy", "ok": True, "says": "category: 12 labels"}
    assert says["llm stock"]["says"] == f"stock.gguf, SHA-256 {digest[:12]}, prompt instruct-plain-1"
    (folder / "stock.gguf").unlink()
    (item,) = json.loads(triage("llm", "list", "--json").out)
    assert item["state"] == f"There is no GGUF file at {folder / 'stock.gguf'}."


def test_doctor_asks_the_file_s_own_vocabulary_for_codes(triage, folder):
    """1,378 tokens would do, and this llm has 103 of them."""
    labels = "".join(f"    - {{id: q{n}}}\n" for n in range(250))
    fields = "".join(f"  f{n}:\n    labels:\n{labels}" for n in range(7))
    (folder / "taxonomy.yaml").write_text("fields:\n" + fields)
    says = {line["what"]: line for line in json.loads(triage("doctor", "--json").out)}
    assert not says["llm stock"]["ok"]
    assert "codes of one token each, and this llm has" in says["llm stock"]["says"]


def test_it_classifies_and_is_evaluated_and_nothing_is_automated(triage, folder):
    ran = triage("classify", "tickets.jsonl", "--llm", "stock")
    assert ran.code == 0, ran.err
    found = [json.loads(line)["triage"]["category"] for line in ran.out.splitlines()]
    assert [(one["calibrated"], one["action"], one["llms"]) for one in found] == [(False, "review", ["stock"])] * 2
    ran = triage("evaluate", "--test", "tickets.jsonl", "--llm", "stock", "--json", "found.json")
    assert ran.code == 0, ran.err
    (result,) = json.loads((folder / "found.json").read_text())["results"]
    assert (result["llm"], result["calibration"]["state"]) == ("stock", "uncalibrated")
    assert result["pins"][0]["prompt_version"] == "instruct-plain-1"


def test_a_gguf_without_a_card_is_told_what_it_needs(triage, folder):
    ran = triage("classify", "tickets.jsonl", "--llm", "llamacpp:stock.gguf")
    assert ran.code == 1
    assert "named in triage.yaml, under llms, with this model and its family (mistral, llama3 or plain)" in ran.err
    ran = triage("classify", "tickets.jsonl", "--llm", "ollama:stock")
    assert "name the model under llms in triage.yaml, with a card or a family." in ran.err


def test_in_an_ollama_it_is_pulled_and_checked(triage, folder, server):
    (item,) = json.loads(triage("llm", "list", "--json").out)
    assert item["state"] == "Ollama has no stock: run triage llm pull stock."
    assert "run triage llm pull stock" in triage("llm", "create", "stock").err
    assert triage("llm", "pull", "stock").code == 0
    (item,) = json.loads(triage("llm", "list", "--json").out)
    assert item["state"] == f"stock in Ollama, digest {server.models['stock:latest'].digest[:12]}"
    checked = triage("llm", "check", "stock")
    assert checked.code == 0, checked.out + checked.err
    assert [line[:4] for line in checked.out.splitlines()] == ["ok  "] * 6
    assert "codes among the 20 likeliest tokens" in checked.out
    assert triage("classify", "tickets.jsonl").code == 0


def test_another_family_than_the_llms_is_found_out(triage, folder, server):
    server.add("stock", folder / "stock.gguf", **PARAMETERS)
    (folder / "triage.yaml").write_text(THERE.format(url=server.url, family="mistral"))
    ran = triage("llm", "check", "stock")
    assert ran.code == 1
    assert "this llm has 0" in ran.err
    assert "see that its family in triage.yaml is right" in ran.err


def test_what_calibrate_wrote_for_one_in_an_ollama_is_what_check_doctor_and_list_show(triage, folder, server):
    assert triage("llm", "pull", "stock").code == 0
    text = (folder / "triage.yaml").read_text().replace("family: plain", "family: plain, calibration: own.json")
    (folder / "triage.yaml").write_text(text)
    (folder / "bare.jsonl").write_text("".join(f'{{"body": "where is card {n}"}}\n' for n in range(100)))
    made = triage("calibrate", "--llm", "stock", "--data", "bare.jsonl")
    assert made.code == 0, made.err
    key = json.loads((folder / "own.json").read_text())["calibration"]["category"]["key"]
    assert key["engines"] == [f"ollama {server.version}"]
    state = "category: batch-calibrated (n 100)"
    checked = {line["what"]: line["says"] for line in json.loads(triage("llm", "check", "stock", "--json").out)}
    assert checked["load"].endswith(state)
    doctor = {line["what"]: line["says"] for line in json.loads(triage("doctor", "--json").out)}
    assert doctor["confidence of stock"] == state
    (item,) = json.loads(triage("llm", "list", "--json").out)
    assert item["calibration"]["category"] == {"state": "batch-calibrated", "n": 100, "why": None}
