"""The whole benchmark with windows of a tenth of a second, over real servers: its shape, never its speed."""

import json
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
import pytest

from benchmarks import results
from benchmarks.bench import NAMES, bench
from benchmarks.ratios import Round
from benchmarks.stage import stage
from models.db import conninfo
from service.datadir import Urls

SECONDS = 0.1


@pytest.fixture(scope="module")
def measured(servers: Urls, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Round], dict[str, Any]]:
    """One round of everything, and what would stand in results.json."""
    folder = tmp_path_factory.mktemp("bench")
    with stage(servers, folder) as made:
        machine = results.machine(made)
        done = list(bench(made, 1, SECONDS, NAMES))
    results.write(folder / "results.json", results.document(machine, done))
    return done, json.loads((folder / "results.json").read_bytes())


def test_every_ratio_has_a_round_and_every_round_that_counts_a_ratio(measured):
    done, found = measured
    assert {one.name for one in done} == set(NAMES) == set(results.MEANING)
    assert set(found["ratios"]) == {one.name for one in done if one.void is None}
    for one in found["ratios"].values():
        assert 0 < one["min"] <= one["median"] <= one["max"]


def test_what_was_answered_is_in_the_table(measured):
    windows = [window for one in measured[0] if one.name.startswith("intake") for window in one.windows]
    assert len(windows) >= 12
    assert {window.side for window in windows} == {"ours", "yardstick", "tutorial"}
    for window in windows:
        assert window.facts["rows"] == window.facts["answered"] > 0
        assert 0 < window.facts["p50_ms"] <= window.facts["p99_ms"]


def test_the_open_loop_asks_for_half_of_what_the_yardstick_did(measured):
    done, _ = measured
    fast = [
        w.figure for one in done if one.name == "intake_over_yardstick" for w in one.windows if w.side == "yardstick"
    ]
    calm = [window for one in done if one.name == "intake_p99_over_yardstick" for window in one.windows]
    assert {window.facts["asked_per_s"] for window in calm} == {median(fast) / 2}
    assert {window.facts["answered"] for window in calm} == {round(SECONDS * median(fast) / 2)}


def test_both_workers_drained_what_was_queued_over_the_engine_that_is_meant(measured):
    windows = [(one.name, w) for one in measured[0] for w in one.windows if "engine" in w.facts]
    assert {(name, window.side, window.facts["engine"]) for name, window in windows} == {
        ("drain_over_tutorial", "ours", "timed"),
        ("drain_over_tutorial", "tutorial", "timed"),
        ("service_over_timed_engine", "ours", "timed"),
        ("service_over_demo_llm", "ours", "llamacpp"),
    }
    sizes = {window.facts["tickets"] for name, window in windows if name == "service_over_timed_engine"}
    assert sizes == {80 * SECONDS}


def test_the_results_name_the_machine_and_hold_absolute_figures_in_rounds_only(measured):
    _, found = measured
    assert found.keys() == {"machine", "ratios", "rounds"}
    assert found["machine"]["load_at_start"] >= 0
    for name in ("cpu", "cores", "memory", "python", "postgres", "redis", "generator"):
        assert found["machine"][name], name
    assert all(ratio.keys() == {"median", "min", "max"} for ratio in found["ratios"].values())


def test_the_table_shows_every_ratio(measured):
    _, found = measured
    assert list(results.table(found).columns[0].cells) == NAMES


def test_nothing_is_left_in_the_database_server(measured, servers: Urls):
    with psycopg.connect(conninfo(servers.database_url)) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'bench%'").fetchall()
    assert rows == []
    assert not Path(results.__file__).with_name("results.tmp").exists()


def test_one_token_is_one_and_a_json_answer_is_longer(measured):
    sides = {w.side: w.facts["tokens"] for one in measured[0] if one.name == "one_token_over_json" for w in one.windows}
    assert sides == {"one token": 1, "JSON": 32}
