"""Pure: from the sums of two arms that served different tickets to what a report concludes. Called by `arms`."""

import math
from dataclasses import dataclass

from models import clusters, metrics
from models.clusters import Share, Sums
from models.metrics import Z95, Interval
from service.experiments.stats import ALPHA, COULD, DIFFERENCE, Z80, Verdict, Word, p_text, rounded, tickets, to_see

MIN_UNITS = 30  # below, the normal distribution describes a share over requesters badly
MIN_SERVED = 0.9  # with fewer, an arm's accuracy is mostly that of the policy
SUSPICIOUS = 0.001  # of a thousand sound splits one looks this uneven; a result on top of a leak is worth nothing
NOBODY = Sums()
TYPICAL = 0.9, 20  # until verdicts say otherwise: the accuracy expected, and as how many verdicts

RULE = (
    "A or B is better where a two-sided z test on the accuracy of what each arm decided gives p < 0.05, the counts "
    f"divided by the design effect of several tickets from one requester, with at least {MIN_UNITS} judged requesters "
    f"in each arm. Otherwise there is no evidence once {COULD}, and until then there are not enough verdicts. Halves "
    f"more uneven than one sound split in a thousand, or an arm that decided less than {MIN_SERVED:.0%} of its "
    "tickets, call nobody better. One look: a test repeated until it passes proves nothing."
)


@dataclass(frozen=True, slots=True)
class Balance:
    """Whether the halves are as even as a fair coin makes them: requesters in each, exact two-sided binomial p.

    `unserved` says which arm decided too few of its own tickets to be judged by them; None is none.
    """

    units_a: int
    units_b: int
    p_value: float
    suspicious: bool
    unserved: str | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Two arms on different tickets. `difference` is accuracy A minus B, None while an arm is empty."""

    accuracy_a: Share
    accuracy_b: Share
    difference: float | None
    difference_interval: Interval | None
    p_value: float | None
    verdict: Verdict


def balance(units_a: int, units_b: int, unserved: str | None = None) -> Balance:
    """The binomial test of one half is McNemar's."""
    p_value = metrics.mcnemar(units_a, units_b)
    return Balance(units_a, units_b, p_value, p_value < SUSPICIOUS, unserved)


def unserved(arm: str, served: int, decided: int) -> str | None:
    """A sentence for an arm that did not decide most of its tickets: they were classified anew when it did not run."""
    if served >= MIN_SERVED * decided:
        return None
    return (
        f"Arm {arm.upper()} itself decided only {served:,} of the {decided:,} tickets assigned to it; of the others, "
        "classified anew after its end or while its llms were away, the policy did. No arm is called better."
    )


def compare(a: Sums, b: Sums, halves: Balance) -> Split:
    """The comparison from both arms' sums over requesters."""
    share_a, share_b = clusters.share(a), clusters.share(b)
    gap = None if share_a.value is None or share_b.value is None else share_a.value - share_b.value
    return Split(share_a, share_b, gap, clusters.difference(a, b), clusters.p_value(a, b), verdict(a, b, halves))


def verdict(a: Sums, b: Sums, halves: Balance) -> Verdict:
    """What RULE concludes."""
    p_value, needed = clusters.p_value(a, b), [_needed(one, a, b) for one in (a, b)]
    counts = f"A was right on {a.successes:,} of {tickets(a.n)}, B on {b.successes:,} of {b.n:,}"
    more = sum(max(0.0, take - one.n) for take, one in zip(needed, (a, b), strict=True))
    few = sum(max(0, MIN_UNITS - one.clusters) for one in (a, b))
    if halves.suspicious:
        return Verdict(Word.NO_EVIDENCE, _uneven(halves), rule=RULE)
    if halves.unserved:
        return Verdict(Word.NO_EVIDENCE, halves.unserved, rule=RULE)
    if few and more <= few:
        return Verdict(Word.NOT_ENOUGH, f"{counts}. {_few(a, b)}", few, RULE)
    if not few and p_value is not None and p_value < ALPHA:
        word = Word.A_BETTER if a.successes * b.n > b.successes * a.n else Word.B_BETTER
        return Verdict(word, f"{counts} ({p_text(p_value)}): chance alone rarely does that.", rule=RULE)
    if more > 0 or p_value is None:
        return Verdict(Word.NOT_ENOUGH, f"{counts}. {to_see(sum(needed))}", rounded(more), RULE)
    return Verdict(
        Word.NO_EVIDENCE, f"{counts} ({p_text(p_value)}): chance alone explains that, and {COULD}.", rule=RULE
    )


def _needed(arm: Sums, a: Sums, b: Sums) -> float:
    """How many tickets of an arm it takes to see DIFFERENCE: 2 p q (z(.975) + z(.80))^2 / d^2, times its design effect.

    The textbook formula for two independent shares of nearly one size (Fleiss, Levin and Paik 2003, 4.2, simplified).
    """
    expected, weight = TYPICAL
    p = (a.successes + b.successes + expected * weight) / (a.n + b.n + weight)
    alone = 2 * p * (1 - p) * (Z95 + Z80) ** 2 / DIFFERENCE**2
    return max(MIN_UNITS, math.ceil(alone * clusters.design_effect(arm)))


def _few(a: Sums, b: Sums) -> str:
    return f"At least {MIN_UNITS} judged requesters are needed in each arm; A has {a.clusters:,}, B {b.clusters:,}."


def _uneven(halves: Balance) -> str:
    counts = f"{halves.units_a:,} requesters in A, {halves.units_b:,} in B ({p_text(halves.p_value)})"
    return (
        f"The halves are not even: {counts}. "
        "Something else than the coin sorts them; until that is found, no arm is called better."
    )
