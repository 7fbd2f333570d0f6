"""The benchmark's arithmetic with numbers that can be checked by hand: rounds, void rounds, spreads, repeats."""

import pytest

from benchmarks.engine import Timed
from benchmarks.pairs import RATE, TIME, Call, Pairs, Side
from benchmarks.ratios import Round, Window, figures, ratios, said, spread, why_void
from benchmarks.results import document
from benchmarks.rounds import TRIES, Absolute, Comparison, rounds


def made(name: str, figures: list[float], void: str | None = None) -> Round:
    first, *rest = [Window(side, figure, "per s") for side, figure in zip("abba", figures, strict=True)]
    return Round(name, (Window("a", first.figure, "per s", void=void), *rest), load=0.5)


def test_a_round_compares_the_means_of_its_sides():
    assert made("x", [10, 4, 6, 20]).ratio == 3.0  # 15 over 5


def test_what_drifts_evenly_weighs_on_both_sides_alike():
    assert made("x", [100, 90, 80, 70]).ratio == 1.0


def test_a_void_window_makes_its_round_void():
    assert made("x", [10, 4, 6, 20], "why").ratio is None
    assert made("x", [10, 4, 6, 20], "why").void == "why"


def test_a_spread_is_median_least_and_most():
    assert spread([3.0, 1.0, 8.0]) == {"median": 3.0, "min": 1.0, "max": 8.0}
    assert spread([1.0, 2.0]) == {"median": 1.5, "min": 1.0, "max": 2.0}


def test_void_rounds_count_for_no_ratio():
    found = [
        made("x", [2, 1, 1, 2]),
        made("x", [9, 1, 1, 9], "why"),
        made("x", [4, 1, 1, 4]),
        made("y", [1, 1, 1, 1], "why"),
    ]
    assert ratios(found) == {"x": {"median": 3.0, "min": 2.0, "max": 4.0}}


@pytest.mark.parametrize(
    ("cpu_share", "answered", "refused", "void"),
    [
        (0.79, 100, 0, None),
        (0.80, 100, 0, "the generator used 80% of a core"),
        (0.10, 100, 1, "1 requests were refused"),
        (0.10, 0, 0, "nothing was answered"),
    ],
)
def test_when_a_window_is_void(cpu_share, answered, refused, void):
    assert why_void(cpu_share, answered, refused) == void


def comparison(voids: list[str | None]) -> Comparison:
    """A comparison whose rounds are void or not in this order."""
    reasons = iter(voids)
    flags = {"window": 0, "void": None}

    def first() -> Window:
        if flags["window"] % 2 == 0:
            flags["void"] = next(reasons)
        flags["window"] += 1
        return Window("a", 2.0, "per s", void=flags["void"])

    return Comparison("x", first, lambda: Window("b", 1.0, "per s"))


def test_a_void_round_is_run_again():
    found = list(rounds(comparison([None, "why", None]), 2))
    assert [one.void for one in found] == [None, "why", None]


def test_a_machine_that_makes_all_rounds_void_is_left_at_last():
    found = list(rounds(comparison(["why"] * 20), 3))
    assert len(found) == TRIES * 3
    assert ratios(found) == {}


def test_the_document_keeps_absolute_figures_inside_the_rounds():
    found = document({"cpu": "x"}, [made("x", [10, 4, 6, 20])])
    assert found["ratios"] == {"x": {"median": 3.0, "min": 3.0, "max": 3.0}}
    assert found["figures"] == {}
    (one,) = found["rounds"]
    assert (one["name"], one["ratio"], one["void"], one["load"]) == ("x", 3.0, None, 0.5)
    assert [window["figure"] for window in one["windows"]] == [10, 4, 6, 20]


def test_a_run_is_a_figure_and_no_ratio():
    (one,) = rounds(Absolute("x", lambda: Window("a", 1234.5, "tickets/s")), 1)
    assert figures([one, made("y", [10, 4, 6, 20])]) == {"x": {"median": 1234.5, "min": 1234.5, "max": 1234.5}}
    assert ratios([one]) == {}
    assert (said(one), said(made("y", [10, 4, 6, 20]))) == ("1,234 tickets/s", "3.00")
    assert one.as_json()["windows"][0]["figure"] == 1234.5


def test_a_void_run_is_run_again_and_is_no_figure():
    reasons = iter(["why", None])
    found = list(rounds(Absolute("x", lambda: Window("a", 1.0, "s", void=next(reasons))), 1))
    assert [said(one) for one in found] == ["void, why", "1 s"]
    assert figures(found[:1]) == {}


def pairs(unit: str, seconds: float = 0.0) -> Pairs:
    """Even tickets take 2 and 8 ms, odd ones 4 and 10."""

    def ask(number: int) -> tuple[Call, Call]:
        more = number % 2 * 2
        return Call(2 + more, 20, 18), Call(8 + more, 20, 3)

    return Pairs("x", (Side("a", {"tokens": 1}), Side("b")), unit, ask, seconds)


def test_pairs_are_a_round_in_which_both_sides_are_first_in_turns():
    one = pairs(TIME).round()
    assert [(window.side, window.figure) for window in one.windows] == [("a", 2), ("b", 8), ("b", 10), ("a", 4)]
    assert one.ratio == 3 / 9
    assert one.windows[0].facts == {"tokens": 1, "calls": 1, "prompt_tokens": 20, "cached_tokens": 18}


def test_a_rate_is_the_more_the_less_a_call_takes():
    one = pairs(RATE).round()
    assert [window.figure for window in one.windows] == [500, 125, 100, 250]


def test_pairs_go_on_until_the_time_is_over():
    assert all(window.facts["calls"] > 1 for window in pairs(TIME, 0.02).round().windows)


def test_the_engine_of_the_benchmark_scores_every_code_and_is_sure_of_one():
    found = Timed().score("any", "prompt", ["A", "B", "C"])
    assert found.complete
    assert max(found.logprobs, key=found.logprobs.__getitem__) == "A"
    assert set(found.logprobs) == {"A", "B", "C"}
