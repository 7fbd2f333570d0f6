"""Pure: from counts to the figures of a report. Called by the report, which counts in SQL and lets this compute.

Every function answers for zero, one and two observations too: with None, or with "not enough verdicts".
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from models import metrics
from models.metrics import Z95, Interval, Proportion

ALPHA = 0.05
MIN_DISCORDANT = 6  # five pairs that all favour one side give p = 2 / 2**5 = .0625: no result could pass below six
DIFFERENCE = 0.03  # what a comparison should be able to see, with a power of 80 %
Z80 = 0.8416212335729143  # the .80 quantile of the standard normal
TYPICAL = 0.12, 20  # until verdicts say otherwise: on how many tickets two peers differ, and as how many verdicts
COULD = "a difference of 3 points would have been seen in 4 of 5 cases"

RULE = (
    "A or B is better where the exact two-sided McNemar test gives p < 0.05 on the tickets that exactly one of them "
    f"got right, at least {MIN_DISCORDANT} of them. Otherwise there is no evidence once {COULD}, and until then there "
    "are not enough verdicts. One look: a test repeated until it passes proves nothing."
)


class Word(StrEnum):
    """What a comparison may conclude."""

    A_BETTER = "A better"
    B_BETTER = "B better"
    NO_EVIDENCE = "no evidence"
    NOT_ENOUGH = "not enough verdicts"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conclusion, the reason with its numbers, about how many more verdicts it takes, and the rule applied.

    `sentence` is the word with that number, as people read it.
    """

    word: Word
    reason: str
    more: int | None = None
    rule: str = RULE
    sentence: str = field(init=False)

    def __post_init__(self) -> None:
        about = "" if self.more is None else f": about {self.more:,} more"
        object.__setattr__(self, "sentence", f"{self.word}{about}")


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
        verdict=verdict(only_a, only_b, n),
    )


def verdict(only_a: int, only_b: int, n: int) -> Verdict:
    """What RULE concludes from n tickets, on so many of which only A and only B was right."""
    p_value, needed = metrics.mcnemar(only_a, only_b), pairs_needed(only_a + only_b, n)
    counts = f"Of {tickets(n)}, only A was right on {only_a:,} and only B on {only_b:,}"
    if only_a + only_b >= MIN_DISCORDANT and p_value < ALPHA:
        word = Word.A_BETTER if only_a > only_b else Word.B_BETTER
        return Verdict(word, f"{counts} ({p_text(p_value)}): chance alone rarely does that.")
    if n < needed:
        return Verdict(Word.NOT_ENOUGH, f"{counts}. {to_see(needed)}", rounded(needed - n))
    return Verdict(Word.NO_EVIDENCE, f"{counts} ({p_text(p_value)}): chance alone explains that, and {COULD}.")


def pairs_needed(discordant: int, n: int) -> int:
    """How many tickets it takes to see DIFFERENCE between two llms that so many of n tickets tell apart.

    Connor (1987, Biometrics 43:207): [z(.975) sqrt(p) + z(.80) sqrt(p - d^2)]^2 / d^2, p the share of such tickets. It
    starts from TYPICAL, so that few verdicts do not promise much, and is never below d, which it cannot be.
    """
    share, weight = TYPICAL
    p, d = max(DIFFERENCE, (discordant + share * weight) / (n + weight)), DIFFERENCE
    return round((Z95 * math.sqrt(p) + Z80 * math.sqrt(p - d * d)) ** 2 / (d * d))


def rounded(count: float) -> int:
    """An estimate of how many, to two significant digits, and at least one."""
    return max(1, int(float(f"{count:.1e}")))


def tickets(n: int) -> str:
    return "1 judged ticket" if n == 1 else f"{n:,} judged tickets"


def to_see(needed: float) -> str:
    """What a conclusion takes, as a sentence."""
    return f"It takes about {rounded(needed):,} to see a difference of 3 points in 4 of 5 cases."


def p_text(p_value: float) -> str:
    """A p-value in four decimals: with two, .0496 and .0525 would both read 0.05 and the words would look arbitrary."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.4f}"
