"""`triage classify` as the benchmark runs it, over small files: every ticket is answered, never how fast."""

from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.bench import NAMES
from benchmarks.offline import classify
from benchmarks.ratios import Run
from benchmarks.rounds import rounds
from benchmarks.stage import Stage
from service.datadir import Urls

SECONDS = 0.02
MACHINE = {"cpu": "Any CPU", "cores": 2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Each figure once; it needs no servers."""
    nowhere = Stage(Urls(Path()), tmp_path_factory.mktemp("bench"), {})
    with classify(nowhere, SECONDS) as figures:
        return {one.name: run for one in figures for run in rounds(one, 1)}


@pytest.mark.parametrize(("name", "tickets", "words"), [("short", 400, 12), ("long", 60, 80)])
def test_each_ticket_of_a_file_is_classified_and_the_whole_command_counts(runs, name, tickets, words):
    window = runs[f"classify_linear_{name}"].window
    assert window.facts["tickets"] == tickets
    assert window.figure == tickets / window.facts["seconds"] < window.facts["without_start"]
    assert 3 * words < window.facts["bytes"] / tickets < 15 * words


def test_the_table_shows_every_figure_under_the_name_of_the_machine(runs):
    made = results.absolute(results.document(MACHINE, list(runs.values())))
    shown = dict(zip(*(column.cells for column in made.columns[:2]), strict=True))
    assert list(shown) == list(results.ABSOLUTE)
    assert {name: shown[name] for name in runs} == {name: f"{run.window.figure:,.0f}" for name, run in runs.items()}
    assert {shown[name] for name in set(shown) - set(runs)} == {"not measured"}
    assert made.title == "Absolute, on Any CPU, 2 cores"


def test_every_name_is_a_ratio_or_a_figure():
    assert sorted([*results.MEANING, *results.ABSOLUTE]) == sorted(NAMES)
