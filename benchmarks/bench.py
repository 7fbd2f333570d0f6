"""The whole benchmark: each scene with its processes, each comparison in its rounds. Called by __main__.py."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from benchmarks.asking import one_token, second_field
from benchmarks.claiming import claims
from benchmarks.draining import demo, drain, timed
from benchmarks.filtering import filters
from benchmarks.intake import intake
from benchmarks.memory import memory
from benchmarks.offline import classify
from benchmarks.ratios import Measured
from benchmarks.reporting import reports
from benchmarks.rounds import Rounds, rounds
from benchmarks.stage import Stage

Scene = Callable[[Stage, float], AbstractContextManager[Sequence[Rounds]]]
SCENES: dict[Scene, tuple[str, ...]] = {
    intake: ("intake_over_yardstick", "intake_over_tutorial", "intake_p99_over_yardstick"),
    drain: ("drain_over_tutorial",),
    timed: ("service_over_timed_engine",),
    demo: ("service_over_demo_llm",),
    one_token: (
        "one_token_over_json",
        "one_token_over_json_300_words",
        "one_token_over_json_larger_llm",
        "one_token_over_json_larger_llm_300_words",
        "one_token_over_json_new_ticket",
        "one_token_over_json_new_ticket_300_words",
    ),
    second_field: ("second_field_over_first",),
    filters: ("filter_over_primary_key",),
    claims: ("claim_drain_over_empty", "claim_drain_over_empty_snapshot"),
    reports: ("report_1m_over_100k", "report_1m", "report_catch_up"),
    memory: ("memory_api_and_worker",),
    classify: ("classify_linear_short", "classify_linear_long"),
}
NAMES = [name for names in SCENES.values() for name in names]
ONCE = ("report_catch_up",)  # measured while its scene is set up, and not again


def bench(stage: Stage, wanted: int, seconds: float, only: list[str]) -> Iterator[Measured]:
    """Every round as soon as it is measured."""
    for scene, names in SCENES.items():
        if set(names) & set(only):
            with scene(stage, seconds) as comparisons:
                for comparison in comparisons:
                    if comparison.name in only:
                        yield from rounds(comparison, times(comparison.name, wanted))


def times(name: str, wanted: int) -> int:
    """How many rounds of it are to count."""
    return 1 if name in ONCE else wanted
