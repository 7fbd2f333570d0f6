"""The demo where an Ollama answers (the stand-in): it makes its two models, uses them, and leaves none behind."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from standin import ollama

from models import taxonomy
from service import settings
from service.cli.demo import ollama as demo_ollama
from service.settings import DEMO_LLMS
from workers.llms import Llms

NAMES = {"triage-demo-primary:latest", "triage-demo-fallback:latest"}


@pytest.fixture(params=["0.24.0", "0.32.15"])
def server(request, tmp_path, monkeypatch):
    (tmp_path / "blobs").mkdir()
    with ollama(tmp_path / "blobs", version=request.param) as standin:
        monkeypatch.setenv("OLLAMA_HOST", standin.url)
        yield standin


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "demo"
    made.mkdir()
    for name in ("triage.yaml", "taxonomy.yaml"):
        shutil.copyfile(DEMO_LLMS / name, made / name)
    return made


def engine_kinds(folder):
    return {engine.kind for engine in settings.load(config=folder / "triage.yaml").config.engines.values()}


def test_a_worker_on_the_written_files_is_calibrated(server, folder, tmp_path):
    with demo_ollama.engine(folder) as sentence:
        assert f"ran in the Ollama {server.version} at {server.url}" in sentence
        assert "Nobody has compared" not in sentence
        assert set(server.models) == NAMES
        loaded = settings.load(config=folder / "triage.yaml")
        llms = Llms(loaded, loaded.config.asked, tmp_path)
        assert llms.load()
        assert all(pin.engine == "ollama" and pin.calibration_id and pin.demo for pin in llms.pins())
        llms.close()
    assert server.models == {}


def test_an_ollama_that_nobody_compared_is_used_and_its_llms_count_as_uncalibrated(server, folder, tmp_path):
    server.says = "0.30.1"
    with demo_ollama.engine(folder) as sentence:
        assert "ran in the Ollama 0.30.1" in sentence
        assert "Nobody has compared Ollama 0.30.1" in sentence
        loaded = settings.load(config=folder / "triage.yaml")
        llms = Llms(loaded, loaded.config.asked, tmp_path)
        vocabulary = taxonomy.load(loaded.taxonomy_path)
        assert llms.load(vocabulary)
        states = [state for llm in llms.all.values() for state in llm.calibrated(vocabulary).values()]
        assert {state["state"] for state in states} == {"uncalibrated"}
        assert all("and this is ollama 0.30.1" in state["why"] for state in states)
        llms.close()


@pytest.mark.parametrize("end", [KeyboardInterrupt, ValueError])
def test_its_models_go_however_it_ends(server, folder, end):
    server.add("somebody-elses", DEMO_LLMS / "primary.gguf")
    with pytest.raises(end), demo_ollama.engine(folder):
        raise end
    assert set(server.models) == {"somebody-elses:latest"}


def test_an_ollama_that_cannot_be_used_is_named_and_left_as_it_was(server, folder, monkeypatch):
    server.room = 1
    with demo_ollama.engine(folder) as sentence:
        assert "would not do (Loading triage-demo-fallback pushed" in sentence
        assert "ran in llama.cpp" in sentence
        assert engine_kinds(folder) == {"llamacpp"}
    assert server.models == {}


def test_an_old_ollama_or_none_is_not_used(server, folder, monkeypatch):
    server.says = "0.9.0"
    with demo_ollama.engine(folder) as sentence:
        assert "ran in llama.cpp" in sentence
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    with demo_ollama.engine(folder) as sentence:
        assert "at http://127.0.0.1:1" in sentence
    assert engine_kinds(folder) == {"llamacpp"}
    assert server.requests == []


def test_the_whole_demo_on_an_ollama(server, tmp_path):
    if server.old:
        pytest.skip("one version is enough for the minute that this takes")
    command = [sys.executable, "-m", "service.cli", "demo", "--exit", "--tickets", "20"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"CI": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "engine ollama 0.32.15" in done.stdout
    printed = " ".join(done.stdout.split())
    assert re.search(r"cascade as served . [01]\.\d{3} \([\d.-]+, n=19\) . [01]\.\d{3} \([\d.-]+, n=19\)", printed)
    assert "Out-of-scope tickets, field intent: has no `other`; sent to a person" in printed
    assert "ran in the Ollama 0.32.15" in " ".join(done.stderr.split())
    assert server.models == {}
    assert sum(bool(request.get("prompt")) for request in server.requests) > 40
