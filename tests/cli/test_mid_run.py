"""classify and evaluate over an Ollama (the stand-in) that loses the llm in mid-run, for a moment and for good."""

import json
import shutil

import pytest
from places import PARAMETERS
from standin import Fault, ollama

from models.errors import EngineDown
from service.settings import DEMO_LLMS
from workers.engines.ollama import Ollama

YAML = """
engines: {{o: {{kind: ollama, url: {url}, parallel: 1}}}}
llms: {{mine: {{engine: o, model: triage-mine, card: mine.json}}}}
policy: {{primary: mine}}
"""
TICKETS = [json.loads(line) for line in (DEMO_LLMS / "tickets.jsonl").read_text().splitlines()[:6]]
COMMANDS = (
    ("classify", "t.jsonl", "--out", "o.jsonl"),
    ("evaluate", "--test", "t.jsonl", "--llm", "mine", "--json", "o.jsonl"),
)


@pytest.fixture
def server(tmp_path, triage):
    for name in ("taxonomy.yaml", "primary.json"):
        shutil.copyfile(DEMO_LLMS / name, tmp_path / name.replace("primary", "mine"))
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(ticket) + "\n" for ticket in TICKETS))
    (tmp_path / "blobs").mkdir()
    with ollama(tmp_path / "blobs", version="0.24.0") as standin:
        standin.add("triage-mine", DEMO_LLMS / "primary.gguf", **PARAMETERS)
        (tmp_path / "triage.yaml").write_text(YAML.format(url=standin.url))
        yield standin


@pytest.fixture
def lose(server, monkeypatch):
    """From the third question on so many prompts fail, and the llm is out of Ollama's memory."""
    score, asked = Ollama.score, []

    def scored(self, *question):
        asked.append(question)
        if len(asked) == 3:
            server.fault = Fault("stopped", times=lose.times)
        try:
            return score(self, *question)
        except EngineDown:
            server.unload("triage-mine")
            raise

    def lose(times):
        lose.times = times

    monkeypatch.setattr(Ollama, "score", scored)
    return lose


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_lost_is_loaded_again_and_every_ticket_is_answered(triage, server, tmp_path, lose, command):
    lose(times=2)
    ran = triage(*command)
    assert ran.code == 0, ran.err
    assert server.fault.times == 0
    assert server.requests.count({"model": "triage-mine"}) == 2, "loaded without a prompt, twice"
    if command[0] == "classify":
        assert len((tmp_path / "o.jsonl").read_text().splitlines()) == len(TICKETS)
    else:
        results = json.loads((tmp_path / "o.jsonl").read_text())["results"]
        assert all((one["n"], one["unanswered"]) == (6, {"empty": 0, "refused": 0}) for one in results)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_lost_for_good_ends_the_command_in_a_sentence(triage, server, tmp_path, lose, command):
    lose(times=None)
    ran = triage(*command)
    assert ran.code == 1
    assert "triage: Ollama" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "o.jsonl").exists()
