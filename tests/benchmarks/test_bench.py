"""The ratios with windows of a tenth of a second, over real servers: their shape, never their speed."""

import json
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
import pytest

from benchmarks import results
from benchmarks.asking import LEAST_TOKENS
from benchmarks.bench import NAMES, bench
from benchmarks.ratios import Measured, Window
from benchmarks.stage import stage
from models.db import conninfo
from service.datadir import Urls

SECONDS = 0.1
OVER_ROWS = ("filter_over", "claim_drain", "report_1m")  # stand in test_over_rows.py
RATIOS = [name for name in NAMES if name in results.MEANING and not name.startswith(OVER_ROWS)]


@pytest.fixture(scope="module")
def measured(servers: Urls, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Measured], dict[str, Any]]:
    """One round of each ratio, and what would stand in results.json."""
    folder = tmp_path_factory.mktemp("bench")
    with stage(servers, folder) as made:
        machine = results.machine(made)
        done = list(bench(made, 1, SECONDS, RATIOS))
    results.write(folder / "results.json", results.document(machine, done))
    return done, json.loads((folder / "results.json").read_bytes())


def test_every_ratio_has_a_round_and_every_round_that_counts_a_ratio(measured):
    done, found = measured
    assert {one.name for one in done} == set(RATIOS)
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


def test_the_results_name_the_machine_and_hold_absolute_figures_apart_from_ratios(measured):
    _, found = measured
    assert found.keys() == {"machine", "ratios", "figures", "rounds"}
    assert found["figures"] == {}
    assert found["machine"]["load_at_start"] >= 0
    for name in ("cpu", "cores", "memory", "python", "postgres", "redis", "generator"):
        assert found["machine"][name], name
    assert all(ratio.keys() == {"median", "min", "max"} for ratio in found["ratios"].values())


def test_the_table_shows_every_ratio(measured):
    _, found = measured
    assert list(results.table(found).columns[0].cells)[: len(RATIOS)] == RATIOS


def test_nothing_is_left_in_the_database_server(measured, servers: Urls):
    with psycopg.connect(conninfo(servers.database_url)) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'bench%'").fetchall()
    assert rows == []
    assert not Path(results.__file__).with_name("results.tmp").exists()


def windows(measured, name: str) -> list[Window]:
    """Of the one round there is."""
    (found,) = (one for one in measured[0] if one.name == name)
    return list(found.windows)


JSON = [name for name in RATIOS if name.startswith("one_token_over_json")]


@pytest.mark.parametrize("name", JSON)
def test_the_json_answer_has_the_length_of_one_with_the_median_label(measured, name):
    sides = [(window.side, window.facts["tokens"]) for window in windows(measured, name)]
    (length,) = {tokens for side, tokens in sides if side == "JSON"}
    assert sides == [("one token", 1), ("JSON", length), ("JSON", length), ("one token", 1)]
    # {"category":" and "} alone, and {"category":"card_delivery_and_activation"} byte by byte.
    assert 5 < length < 45
    shown = list(results.table(measured[1]).columns[-1].cells)
    assert f"over {length} tokens of JSON" in str(shown[RATIOS.index(JSON[0])])


@pytest.mark.parametrize("name", JSON)
def test_both_sides_of_one_token_over_json_find_the_same_prefix_read(measured, name):
    even_a, even_b, odd_b, odd_a = [cached_and_left(window) for window in windows(measured, name)]
    assert (even_a, odd_a) == (even_b, odd_b)
    for cached, left in (even_a, odd_a):
        assert (cached < 10 < left) if "new_ticket" in name else (left < 10 < cached)


def test_the_second_field_finds_the_ticket_read_and_the_first_does_not(measured):
    for window in windows(measured, "second_field_over_first"):
        cached, left = cached_and_left(window)
        assert cached + left >= LEAST_TOKENS
        assert left < 10 if window.side == "second field" else cached < 10


def cached_and_left(window: Window) -> tuple[float, float]:
    """Tokens of the median prompt that were found read, and that were read for this call."""
    return window.facts["cached_tokens"], window.facts["prompt_tokens"] - window.facts["cached_tokens"]
