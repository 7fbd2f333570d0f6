"""Pure: from counts to the figures of a report. Called by the report, which counts in SQL and lets this compute.

Every function answers for zero, one and two observations too: with None, or with "not enough verdicts".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from models import metrics
from models.metrics import Interval, Proportion

ALPHA = 0.05
MIN_DISCORDANT = 6  # five pairs that all favour one side give p = 2 / 2**5 = .0625: no result could pass below six

RULE = (
    "A or B is better where the exact two-sided McNemar test gives p < 0.05 on the tickets that exactly one of them "
    "got right; fewer than 6 such tickets cannot decide. One look: a test repeated until it passes proves nothing."
)


class Word(StrEnum):
    """What a comparison may conclude."""

    A_BETTER = "A better"
    B_BETTER = "B better"
    NO_EVIDENCE = "no evidence"
    NOT_ENOUGH = "not enough verdicts"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conclusion, the reason with its numbers as one sentence, and the rule that was applied."""

    word: Word
    reason: str
    rule: str = RULE


@dataclass(frozen=True, slots=True)
class Pair:
    """Two llms on the same tickets with a known truth. Shares are 0 to 1; `difference` is accuracy A minus B.

    `difference` and its interval are None without tickets; `p_value` is None where no ticket tells A from B.
    """

    n: int
    both: int
    only_a: int
    only_b: int
    neither: int
    accuracy_a: Proportion
    accuracy_b: Proportion
    difference: float | None
    difference_interval: Interval | None
    p_value: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Spread:
    """How one figure is distributed, in the unit of its values; all but n are None when n is 0."""

    n: int
    mean: float | None
    p50: float | None
    p95: float | None


def spread(values: Iterable[float | None]) -> Spread:
    """Mean, median and 95th percentile of what is known; None (a time that an engine does not report) is left out."""
    known = [value for value in values if value is not None]
    return Spread(len(known), metrics.mean(known), metrics.quantile(known, 0.5), metrics.quantile(known, 0.95))


def pair(rows: Iterable[tuple[bool, bool]]) -> Pair:
    """The comparison from one (A was right, B was right) per ticket."""
    both = only_a = only_b = neither = 0
    for a_correct, b_correct in rows:
        both += a_correct and b_correct
        only_a += a_correct and not b_correct
        only_b += b_correct and not a_correct
        neither += not (a_correct or b_correct)
    return pair_of_counts(both, only_a, only_b, neither)


def pair_of_counts(both: int, only_a: int, only_b: int, neither: int) -> Pair:
    """The comparison from the four counts of tickets: right in both, in A only, in B only, in neither."""
    n = both + only_a + only_b + neither
    return Pair(
        n=n,
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        accuracy_a=metrics.proportion(both + only_a, n),
        accuracy_b=metrics.proportion(both + only_b, n),
        difference=(only_a - only_b) / n if n else None,
        difference_interval=metrics.paired_difference(both, only_a, only_b, neither),
        p_value=metrics.mcnemar(only_a, only_b) if only_a + only_b else None,
        verdict=verdict(only_a, only_b),
    )


def verdict(only_a: int, only_b: int) -> Verdict:
    """What RULE concludes from the tickets that only A and only B got right; `metrics.mcnemar` gives p."""
    discordant = only_a + only_b
    if discordant < MIN_DISCORDANT:
        tell = "1 ticket tells" if discordant == 1 else f"{discordant} tickets tell"
        return Verdict(Word.NOT_ENOUGH, f"Only {tell} A from B; at least {MIN_DISCORDANT} are needed.")
    p_value = metrics.mcnemar(only_a, only_b)
    counts = f"Only A was right on {only_a}, only B on {only_b} tickets ({_p(p_value)})"
    if p_value >= ALPHA:
        return Verdict(Word.NO_EVIDENCE, f"{counts}: chance alone explains that.")
    word = Word.A_BETTER if only_a > only_b else Word.B_BETTER
    return Verdict(word, f"{counts}: chance alone rarely does that.")


def _p(p_value: float) -> str:
    # Four decimals: with two, .0496 and .0525 would both read 0.05 and the words would look arbitrary.
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.4f}"
