"""Pure: shares of observations that come in clusters, as several tickets of a requester do. Called by the report.

Tickets of one requester resemble each other, so a hundred of them tell less than a hundred strangers' would. Rao and
Scott (1992, Biometrics 48:577) take the variance of the share as that of a ratio of cluster totals (delta method), find
by which factor it exceeds the binomial one, the design effect, and divide all counts by it. Methods for independent
observations then hold. All intervals are 95 %.
"""

import math
from dataclasses import dataclass

from models.metrics import Interval, wilson


@dataclass(frozen=True, slots=True)
class Sums:
    """What an estimate needs of clusters with n_i observations, s_i of them successes: sums over all clusters."""

    clusters: int = 0
    n: int = 0
    successes: int = 0
    n_n: int = 0
    n_s: int = 0
    s_s: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """`successes` of `n` in so many clusters; the last four are None when n is 0."""

    clusters: int
    successes: int
    n: int
    value: float | None
    low: float | None
    high: float | None
    design_effect: float | None


def share(of: Sums) -> Share:
    """The share of successes, bounded by Wilson's interval for the effective number of observations."""
    if of.n == 0:
        return Share(of.clusters, 0, 0, None, None, None, None)
    bounds = _bounds(of)
    return Share(of.clusters, of.successes, of.n, of.successes / of.n, bounds.low, bounds.high, design_effect(of))


def design_effect(of: Sums) -> float:
    """By how much the variance of the share exceeds that of as many independent observations; at least 1.

    v = k / (k - 1) * sum (s_i - p n_i)^2 / n^2, over p (1 - p) / n (Rao and Scott 1992). Of one cluster, and where all
    or none are successes, nothing can be estimated: then the tickets of a cluster count as if they were copies.
    """
    k, n, s = of.clusters, of.n, of.successes
    if k < 2 or s in (0, n):
        return of.n_n / n if n else 1.0
    residual = n * n * of.s_s - 2 * n * s * of.n_s + s * s * of.n_n  # n^2 times the sum of squares, in whole numbers
    return max(1.0, k / (k - 1) * residual / (n * s * (n - s)))


def effective(of: Sums) -> tuple[float, float]:
    """(successes, n) divided by the design effect."""
    factor = design_effect(of)
    return of.successes / factor, of.n / factor


def difference(a: Sums, b: Sums) -> Interval | None:
    """The interval of share(A) - share(B), two independent groups; None while one of them is empty.

    Newcombe's square-and-add method 10 for independent proportions (1998, Statistics in Medicine 17:873).
    """
    if not a.n or not b.n:
        return None
    value_a, value_b, bounds_a, bounds_b = a.successes / a.n, b.successes / b.n, _bounds(a), _bounds(b)
    low = math.hypot(value_a - bounds_a.low, bounds_b.high - value_b)
    high = math.hypot(bounds_a.high - value_a, value_b - bounds_b.low)
    return Interval(max(-1.0, value_a - value_b - low), min(1.0, value_a - value_b + high))


def p_value(a: Sums, b: Sums) -> float | None:
    """Two-sided z test that both groups have one share, pooled over the effective counts; None while one is empty."""
    if not a.n or not b.n:
        return None
    (right_a, n_a), (right_b, n_b) = effective(a), effective(b)
    pooled = (right_a + right_b) / (n_a + n_b)
    variance = pooled * (1 - pooled) * (1 / n_a + 1 / n_b)
    if variance <= 0:
        return 1.0
    return math.erfc(abs(right_a / n_a - right_b / n_b) / math.sqrt(2 * variance))


def _bounds(of: Sums) -> Interval:
    bounds = wilson(*effective(of))
    assert bounds is not None, "there are observations"  # noqa: S101
    return bounds
