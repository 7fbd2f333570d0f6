"""What the benchmark measures over many rows, here over few: what was timed, never how fast."""

import pytest

from benchmarks.bench import bench
from benchmarks.ratios import Measured, Window
from benchmarks.stage import stage
from service.datadir import Urls
from workers.pace import MOST as BATCH

SECONDS = 0.01
NAMES = [
    "filter_over_primary_key",
    "claim_drain_over_empty",
    "claim_drain_over_empty_snapshot",
    "report_1m_over_100k",
    "report_1m",
    "report_catch_up",
    "memory_api_and_worker",
]
FILTERS = 22


@pytest.fixture(scope="module")
def measured(servers: Urls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measured]:
    """One round of each."""
    folder = tmp_path_factory.mktemp("bench")
    with stage(servers, folder) as made:
        return {one.name: one for one in bench(made, 1, SECONDS, NAMES)}


def windows(measured: dict[str, Measured], name: str) -> list[Window]:
    return list(measured[name].windows)


def test_every_filter_is_asked_on_two_pages_where_there_are_two(measured):
    slow, one, _, again = windows(measured, "filter_over_primary_key")
    assert (slow.side, one.side) == ("worst filter", "primary key")
    assert slow.facts["pages"] == again.facts["pages"] > FILTERS
    assert slow.figure == slow.facts["slowest"][0][0]


@pytest.mark.parametrize(
    ("name", "side"), [("claim_drain_over_empty", "full drain"), ("claim_drain_over_empty_snapshot", "snapshot")]
)
def test_every_claim_of_a_drain_is_timed(measured, name, side):
    among, alone, again, last = windows(measured, name)
    assert [window.side for window in (among, alone, again, last)] == [side, "empty table", "empty table", side]
    for window in (among, alone, again, last):
        assert window.facts["claims"] >= 10_000 * SECONDS / BATCH
        assert 0 < window.facts["p50_ms"] <= window.figure <= window.facts["most_ms"]


def test_the_report_is_about_ten_times_as_many_predictions(measured):
    sizes = [window.facts["predictions"] for window in windows(measured, "report_1m_over_100k")]
    assert sizes == [SECONDS * 100_000, SECONDS * 10_000, SECONDS * 10_000, SECONDS * 100_000]


def test_what_it_took_to_count_them_is_told_apart(measured):
    (window,) = windows(measured, "report_catch_up")
    assert window.figure > 0


def test_what_cannot_be_measured_again_is_one_run_of_however_many_rounds(servers, tmp_path):
    with stage(servers, tmp_path) as made:
        found = [one.name for one in bench(made, 2, SECONDS, ["report_1m", "report_catch_up"])]
    assert found == ["report_1m", "report_1m", "report_catch_up"]


def test_memory_is_that_of_both_processes_after_their_work(measured):
    (window,) = windows(measured, "memory_api_and_worker")
    assert window.facts["tickets"] == window.facts["triages"] >= 1000 * SECONDS
    assert window.figure == window.facts["ours"] + window.facts["worker"]
    assert min(window.facts["ours"], window.facts["worker"]) > 10  # a Python alone has more
