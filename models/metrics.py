"""Pure statistics: proportions, paired comparison, calibration, quantiles. Called by evaluate, the report and training.

Standard library only: scipy would cost every API process 80 MB. Every function is total: too few observations give
None (or a wide interval), never an exception and never an invented number. All intervals are 95 %.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

Z95 = 1.959963984540054  # the .975 quantile of the standard normal


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval, in the unit of what it bounds."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Proportion:
    """`successes` of `n` with their share and its 95 % Wilson bounds; the last three are None when n is 0."""

    successes: int
    n: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Ece:
    """Expected calibration error of n answers, beside what a perfectly calibrated llm would show by chance.

    `debiased` is value - null_mean and may be below zero; a value above `null_p95` is evidence of miscalibration.
    """

    n: int
    value: float
    null_mean: float
    null_p95: float
    debiased: float


def wilson(successes: float, n: float) -> Interval | None:
    """The 95 % Wilson score interval of a proportion (Wilson 1927, JASA 22:209); None when n is 0.

    Effective counts, which need not be whole, are welcome.
    """
    if n == 0:
        return None
    share, z2 = successes / n, Z95 * Z95
    scale = 1 + z2 / n
    centre = (share + z2 / (2 * n)) / scale
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / scale
    # At 0 and n the bound is exact; rounding would leave 1e-17 there, or step outside [0, 1].
    return Interval(0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def proportion(successes: int, n: int) -> Proportion:
    """The share of successes with its interval; of nothing, a Proportion that says n = 0 and None."""
    bounds = wilson(successes, n)
    if bounds is None:
        return Proportion(successes, n, None, None, None)
    return Proportion(successes, n, successes / n, bounds.low, bounds.high)


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided McNemar p-value of the discordant pairs: twice the smaller tail of Binomial(n, 1/2), at most 1.

    Without discordant pairs p is 1. The largest term comes from lgamma and the others follow by ratio, so a million
    pairs neither overflow nor take long; below 1e-300 the answer is 0. Source: McNemar 1947, exact conditional form.
    """
    n, k = only_a + only_b, min(only_a, only_b)
    term = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
    tail = 0.0
    while k >= 0 and term > tail * 1e-17:
        tail += term
        term *= k / (n - k + 1)
        k -= 1
    return min(1.0, 2 * tail)


def paired_difference(both: int, only_a: int, only_b: int, neither: int) -> Interval | None:
    """The 95 % interval of accuracy(A) - accuracy(B) on the same rows; None without rows.

    Newcombe's square-and-add method 10 (1998, Statistics in Medicine 17:2635): Wilson bounds of both shares, joined
    by their correlation. It is a score interval, so close to p = .05 it may leave out zero where the exact McNemar
    test says p > .05; the test decides.
    """
    n = both + only_a + only_b + neither
    bounds_a, bounds_b = wilson(both + only_a, n), wilson(both + only_b, n)
    if bounds_a is None or bounds_b is None:
        return None
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    phi = _correlation(both, only_a, only_b, neither)
    low = _joined(share_a - bounds_a.low, bounds_b.high - share_b, phi)
    high = _joined(bounds_a.high - share_a, share_b - bounds_b.low, phi)
    difference = (only_a - only_b) / n
    return Interval(max(-1.0, difference - low), min(1.0, difference + high))


def _joined(a: float, b: float, phi: float) -> float:
    # Rounding can leave a hair below zero when phi is 1 and a equals b.
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Newcombe's phi: the correlation of the 2x2 table, continuity-corrected towards zero when it is positive."""
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    cross: float = both * neither - only_a * only_b
    if margins == 0:
        return 0.0
    if cross > 0:
        cross = max(0.0, cross - (both + only_a + only_b + neither) / 2)
    return cross / math.sqrt(margins)


def mean(values: Sequence[float]) -> float | None:
    """The arithmetic mean in the unit of the values; None of nothing."""
    return math.fsum(values) / len(values) if values else None


def quantile(values: Iterable[float], q: float) -> float | None:
    """The q-quantile (0 <= q <= 1), interpolated as type 7 of Hyndman & Fan 1996, the default of numpy and Postgres."""
    ordered = sorted(values)
    return _at(ordered, q) if ordered else None


def _at(ordered: Sequence[float], q: float) -> float:
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def brier(confidences: Sequence[float], correct: Sequence[bool]) -> float | None:
    """Mean squared distance of the top label's confidence from being right (Brier 1950, binary form); None of nothing.

    ValueError if the two differ in length.
    """
    return mean([(p - ok) ** 2 for p, ok in zip(confidences, correct, strict=True)])


def ece(
    confidences: Sequence[float], correct: Sequence[bool], *, bins: int = 15, rounds: int = 500, seed: int = 0
) -> Ece | None:
    """Expected calibration error over equal-mass bins, with its null distribution; None of nothing.

    The sum over bins of |sum of (confidence - correct)|, over n (Naeini 2015; equal-mass: Nixon 2019). It is above
    zero even for a perfect llm, so `rounds` seeded simulations draw each label as Bernoulli(confidence) and give the
    null mean and 95th percentile. Costs rounds x n draws, 1 to 2 s for 500 x 30,000: for batches, not requests.
    ValueError if the two differ in length.
    """
    if not confidences:
        return None
    binned = _equal_mass(confidences, correct, bins)
    value = math.fsum(abs(math.fsum(p - ok for p, ok in rows)) for rows in binned) / len(confidences)
    null = _null_ece(binned, len(confidences), rounds, random.Random(seed))
    null_mean = math.fsum(null) / rounds
    return Ece(len(confidences), value, null_mean, _at(sorted(null), 0.95), value - null_mean)


def _equal_mass(confidences: Sequence[float], correct: Sequence[bool], bins: int) -> list[list[tuple[float, bool]]]:
    """Rows in `bins` groups of nearly equal size by confidence; a run of equal confidences stays in one bin.

    Splitting a run would make the result depend on the order in which the rows came.
    """
    rows = sorted(zip(confidences, correct, strict=True), key=lambda row: row[0])
    binned: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    done = 0
    for _, group in groupby(rows, key=lambda row: row[0]):
        run = list(group)
        binned[(2 * done + len(run)) * bins // (2 * len(rows))].extend(run)
        done += len(run)
    return binned


def _null_ece(binned: list[list[tuple[float, bool]]], n: int, rounds: int, coin: random.Random) -> list[float]:
    """`rounds` values of the same error if every confidence were exactly right."""
    groups = [([p for p, _ in rows], math.fsum(p for p, _ in rows)) for rows in binned]
    draw = coin.random
    return [sum(abs(total - sum(draw() < p for p in ps)) for ps, total in groups) / n for _ in range(rounds)]
