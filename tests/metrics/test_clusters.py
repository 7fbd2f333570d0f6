"""Shares over requesters: against scipy where every requester has one ticket, and by simulation where not."""

import random

import pytest
from scipy.stats import binomtest, chi2_contingency

from models.clusters import Share, Sums, design_effect, difference, p_value, share
from models.metrics import proportion


def sums(clusters: list[tuple[int, int]]) -> Sums:
    """From one (n, successes) for each cluster."""
    products = [(n, s, n * n, n * s, s * s) for n, s in clusters]
    return Sums(len(clusters), *map(sum, zip(*products, strict=True)))


def single(successes: int, n: int) -> Sums:
    return sums([(1, 1)] * successes + [(1, 0)] * (n - successes))


def test_of_strangers_it_is_the_share_of_everybody_else() -> None:
    found, plain = share(single(90, 100)), proportion(90, 100)
    assert (found.value, found.n, found.clusters) == (plain.value, 100, 100)
    assert found.design_effect == pytest.approx(100 / 99)  # k / (k - 1)
    assert found.low == pytest.approx(plain.low, abs=1e-3)
    assert found.high == pytest.approx(plain.high, abs=1e-3)


def test_copies_of_a_ticket_add_nothing() -> None:
    """Ten tickets of each requester, all alike: the interval of the requesters."""
    copies = sums([(10, 10)] * 90 + [(10, 0)] * 10)
    assert design_effect(copies) == pytest.approx(10 * 100 / 99)
    assert share(copies).low == pytest.approx(share(single(90, 100)).low)


def test_the_variance_is_that_of_a_ratio() -> None:
    clusters = [(3, 2), (1, 1), (5, 1), (2, 2), (1, 0), (4, 4)]
    n, p, k = 16, 10 / 16, 6
    v = k / (k - 1) * sum((s - p * m) ** 2 for m, s in clusters) / n**2
    assert design_effect(sums(clusters)) == pytest.approx(v / (p * (1 - p) / n))


def test_it_is_never_surer_than_of_strangers() -> None:
    assert design_effect(sums([(2, 1)] * 50)) == 1.0


@pytest.mark.parametrize(("right", "expected"), [(10, 1.0), (0, 0.0)])
def test_where_all_are_alike_each_requester_is_one(right: int, expected: float) -> None:
    found = share(sums([(10, right)] * 5))
    five = binomtest(right and 5, 5).proportion_ci(method="wilson")
    assert found.value == expected
    assert (found.low, found.high) == pytest.approx((five.low, five.high))


def test_of_nothing_nothing_is_claimed() -> None:
    assert share(Sums()) == Share(0, 0, 0, None, None, None, None)
    assert difference(Sums(), single(1, 1)) is None
    assert p_value(single(1, 1), Sums()) is None
    assert p_value(single(3, 3), single(4, 4)) == 1.0


@pytest.mark.parametrize(("a", "b"), [((900, 1000), (860, 1000)), ((400, 500), (1250, 1500)), ((30, 40), (30, 40))])
def test_the_test_is_that_of_scipy_for_strangers(a: tuple[int, int], b: tuple[int, int]) -> None:
    table = [[right, n - right] for right, n in (a, b)]
    theirs = chi2_contingency(table, correction=False).pvalue
    assert p_value(single(*a), single(*b)) == pytest.approx(theirs, rel=0.02)


def test_the_difference_is_newcombes_of_independent_shares() -> None:
    """56/70 against 48/80, worked in Newcombe 1998, table II (method 10): 0.0524 to 0.3339."""
    a, b = sums([(1, 1)] * 56 + [(1, 0)] * 14), sums([(1, 1)] * 48 + [(1, 0)] * 32)
    found = difference(a, b)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=2e-3)


def test_with_several_tickets_of_a_requester_it_still_covers_the_truth() -> None:
    """Requesters differ: of half of them all is easy, of half hard. Without the design effect, coverage is lost."""
    draw, robust, plain, rejected = random.Random(5), 0, 0, 0
    for _ in range(600):
        a, b = _arm(draw), _arm(draw)
        interval = difference(sums(a), sums(b))
        naive = difference(*(single(sum(s for _, s in arm), sum(n for n, _ in arm)) for arm in (a, b)))
        assert interval is not None
        assert naive is not None
        robust += interval.low <= 0 <= interval.high
        plain += naive.low <= 0 <= naive.high
        rejected += (p_value(sums(a), sums(b)) or 0) < 0.05
    assert 0.93 <= robust / 600 <= 0.98
    assert plain / 600 < 0.85
    assert 0.02 <= rejected / 600 <= 0.075


def _arm(draw: random.Random) -> list[tuple[int, int]]:
    """Sixty requesters with one to twelve tickets each."""
    clusters = []
    for _ in range(60):
        n, p = 1 + int(draw.random() * 12), 0.95 if draw.random() < 0.5 else 0.5
        clusters.append((n, sum(draw.random() < p for _ in range(n))))
    return clusters
