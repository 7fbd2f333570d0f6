"""What was measured is kept at once: a benchmark that is ended in the middle has not been for nothing."""

import json

import pytest

from benchmarks import __main__ as command
from benchmarks.ratios import Round, Window

MACHINE = {"cpu": "Any CPU", "cores": 2, "load_at_start": 0.0}
WINDOW = Window("ours", 10.0, "tickets/s", {})
ROUNDS = [Round("drain_over_tutorial", (WINDOW,) * 4, 0.0), Round("service_over_demo_llm", (WINDOW,) * 4, 0.0)]


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(command.results, "machine", lambda stage: MACHINE)

    def measure(rounds):
        monkeypatch.setattr(command, "bench", lambda *given: rounds)
        return command._run(None, 1, 0.1, ["any"], tmp_path / "results.json")

    return measure


def interrupted():
    yield ROUNDS[0]
    raise KeyboardInterrupt


def test_what_came_before_a_ctrl_c_stands_beside_the_file(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(interrupted())
    assert [path.name for path in tmp_path.iterdir()] == ["results.part.json"]
    found = json.loads((tmp_path / "results.part.json").read_bytes())
    assert (found["ratios"].keys(), found["machine"]) == ({"drain_over_tutorial"}, MACHINE)


def test_at_the_end_there_is_the_file_alone(run, tmp_path):
    found = run(iter(ROUNDS))
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert json.loads((tmp_path / "results.json").read_bytes()) == found
