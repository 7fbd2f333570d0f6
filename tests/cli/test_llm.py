"""triage llm over an Ollama (the stand-in): what it shows, makes, fetches and finds wrong, each in a sentence."""

import json
import shutil

import pytest
from places import PARAMETERS
from standin import Fault, ollama

from service.cli.llm import ollama_admin
from service.settings import DEMO_LLMS
from workers.engines.llamacpp import CONTEXT

YAML = """
engines: {{o: {{kind: ollama, url: {url}, parallel: 2}}, e: {{kind: llamacpp}}}}
llms:
  mine: {{engine: o, model: triage-mine, card: mine.json}}
  shipped: {{engine: o, model: triage-shipped, card: "demo:fallback"}}
  inside: {{engine: e, model: "demo:primary"}}
policy: {{primary: mine, fallback: shipped}}
"""


@pytest.fixture(params=["0.24.0", "0.32.15"])
def server(request, tmp_path, triage):
    """A stand-in; in the folder a triage.yaml that uses it and a GGUF with its card."""
    (tmp_path / "blobs").mkdir()
    with ollama(tmp_path / "blobs", version=request.param) as standin:
        (tmp_path / "triage.yaml").write_text(YAML.format(url=standin.url))
        for suffix in ("json", "gguf"):
            shutil.copyfile(DEMO_LLMS / f"primary.{suffix}", tmp_path / f"mine.{suffix}")
        yield standin


def states(triage):
    return {item["llm"]: item["state"] for item in json.loads(triage("llm", "list", "--json").out)}


def card(tmp_path):
    return json.loads((tmp_path / "mine.json").read_text())


def test_models_are_made_for_one_token_and_any_prepared_ticket():
    assert PARAMETERS == ollama_admin.PARAMETERS
    assert ollama_admin.PARAMETERS["num_ctx"] == CONTEXT


def test_create_list_show_and_check(triage, server, tmp_path):
    assert states(triage)["mine"] == "Ollama has no triage-mine: run triage llm create mine or triage llm pull mine."
    before = card(tmp_path)
    made = triage("llm", "create", "mine")
    assert (made.code, made.out) == (0, "")
    model = server.models["triage-mine:latest"]
    assert model.parameters == ollama_admin.PARAMETERS
    assert card(tmp_path) == before | {"served": [model.digest]}
    assert states(triage)["mine"] == f"triage-mine in Ollama, digest {model.digest[:12]}"
    assert states(triage)["inside"].startswith("primary.gguf, SHA-256")
    shown = triage("llm", "show", "mine").out
    assert "tuned-1" in shown
    assert "11 labels, T 1.069, calibrated (n 1,034)" in shown
    assert triage("llm", "create", "mine").code == 0
    assert card(tmp_path)["served"] == [model.digest]
    assert f"triage-mine in Ollama, digest {model.digest[:12]}, prompt tuned-1" in triage("doctor").out
    checked = triage("llm", "check", "mine")
    assert checked.code == 0, checked.out + checked.err
    assert [line[:4] for line in checked.out.splitlines()] == ["ok  "] * 7
    assert "category: calibrated (n 1,034); intent: calibrated (n 914)" in checked.out
    assert "codes among the 20 likeliest" in checked.out


def test_where_ollama_rewrites_the_file_a_card_that_does_not_know_counts_as_uncalibrated(triage, server, tmp_path):
    server.add("triage-mine", tmp_path / "mine.gguf", **PARAMETERS)
    checked = triage("llm", "check", "mine", "--json")
    assert checked.code == 0
    says = {line["what"]: line["says"] for line in json.loads(checked.out)}["load"]
    assert ("uncalibrated" in says) == (server.version == "0.32.15")


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (
            "0.30.1",
            "category: uncalibrated. The calibration of tiny-primary does not count for field category, because ",
        ),
        ("0.0.0", "category: calibrated (n 1,034)"),
    ],
)
def test_another_ollama_is_another_engine_and_one_without_a_version_is_taken_as_it_is(
    triage, server, tmp_path, version, says
):
    assert triage("llm", "create", "mine").code == 0
    server.says = version
    checked = {line["what"]: line for line in json.loads(triage("llm", "check", "mine", "--json").out)}
    assert checked["load"]["ok"]
    assert says in checked["load"]["says"]


def test_a_shipped_card_is_not_written_to(triage, server):
    before = (DEMO_LLMS / "fallback.json").read_bytes()
    made = triage("llm", "create", "shipped")
    assert made.code == 0
    assert "stays as it is" in made.err
    assert (DEMO_LLMS / "fallback.json").read_bytes() == before


def test_pull(triage, server, tmp_path):
    server.registry["triage-mine"] = tmp_path / "mine.gguf"
    assert triage("llm", "pull", "mine").code == 0
    assert "triage-mine:latest" in server.models
    refused = triage("llm", "pull", "shipped")
    assert refused.code == 1
    assert "Ollama refused: pull model manifest: file does not exist" in refused.err


def test_what_is_wrong_with_a_create(triage, server, tmp_path):
    (tmp_path / "mine.gguf").write_bytes(b"GGUF but another")
    assert "the SHA-256 differs" in triage("llm", "create", "mine").err
    (tmp_path / "mine.gguf").unlink()
    assert "say where it is with --gguf" in triage("llm", "create", "mine").err
    assert triage("llm", "create", "mine", "--gguf", DEMO_LLMS / "primary.gguf").code == 0


@pytest.mark.parametrize("command", ["check", "create", "pull"])
def test_llms_that_are_not_in_an_ollama(triage, server, command):
    refused = triage("llm", command, "inside").err
    assert "runs on llamacpp, not on an Ollama" in refused
    assert "triage llm verify inside --data F and triage doctor" in refused
    ran = triage("llm", command, "nobody")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "in triage.yaml; there are: mine, shipped, inside. TRIAGE_CONFIG" in ran.err


@pytest.mark.parametrize("command", ["list", "check", "create", "pull"])
def test_when_no_ollama_answers(triage, server, tmp_path, command):
    (tmp_path / "triage.yaml").write_text(YAML.format(url="http://127.0.0.1:1"))
    ran = triage("llm", command, *(["mine"] if command != "list" else []))
    assert ran.code == (0 if command == "list" else 1)
    assert "start it, or mend engines.url" in " ".join((ran.out + ran.err).split())


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (Fault("no_logprobs"), "FAIL  load: Ollama answered without log-probabilities"),
        (Fault("stopped"), "FAIL  load: Ollama is not able to answer now"),
    ],
)
def test_check_says_what_fails_and_stops_there(triage, server, tmp_path, fault, line):
    server.add("triage-mine", tmp_path / "mine.gguf", **PARAMETERS)
    server.fault = fault
    ran = triage("llm", "check", "mine")
    assert ran.code == 1
    assert ran.out.splitlines()[-1].startswith(line)
    assert len(ran.out.splitlines()) == 2


def test_check_of_weights_that_were_never_trained_for_the_card(triage, server, tmp_path):
    """The codes swapped for tokens that these weights never put first."""
    content = card(tmp_path)
    content["codes"] = {"category": {"refunds": "x", "other": "y"}}
    (tmp_path / "mine.json").write_text(json.dumps(content))
    server.add("triage-mine", tmp_path / "mine.gguf", **PARAMETERS)
    ran = triage("llm", "check", "mine")
    assert ran.code == 1
    assert "were not trained for the card" in ran.out


def test_check_of_an_old_version(triage, server):
    server.says = "0.5.0"
    ran = triage("llm", "check", "mine")
    assert (ran.code, ran.out.count("\n")) == (1, 1)
    assert "update it to 0.12.11 or newer" in ran.out
