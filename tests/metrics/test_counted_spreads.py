"""Counts add up in any order, and what is read from a histogram is what its numbers say."""

import math
from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from models import metrics
from service.experiments.rollups.counts import Spread, add, at, leaves, merged, surest
from service.experiments.rollups.rounding import number

NAMES = st.sampled_from("abc")
# Every tree of one shape, as every document has it: the same place is never here a number and there a tree.
TREES = st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(0, 1000), min_size=1), max_size=3)
HISTOGRAMS = st.dictionaries(st.integers(3100, 9999).filter(lambda key: key % 1000 >= 100).map(str), st.integers(1, 5))


@given(st.lists(TREES, max_size=5), st.randoms(use_true_random=False))
def test_the_sum_does_not_go_by_the_order_or_by_what_is_summed_first(trees, draw):
    before, whole = deepcopy(trees), merged(trees)
    mixed = draw.sample(trees, len(trees))
    cut = draw.randint(0, len(trees))
    assert merged(mixed) == merged([merged(trees[:cut]), merged(trees[cut:])]) == merged([{}, whole]) == whole
    assert trees == before


@given(TREES, TREES)
def test_each_leaf_is_the_sum_of_both(one, other):
    found = merged([one, other])
    known = {path[:2]: path[2] for path in leaves(found, 2)}
    for name in {name for tree in (one, other) for name in tree}:
        for leaf in {leaf for tree in (one, other) for leaf in tree.get(name, {})}:
            assert known.pop((name, leaf)) == sum(tree.get(name, {}).get(leaf, 0) for tree in (one, other))
    assert known == {}


def test_a_tree_of_a_path():
    found = at(["a", "b"], 3)
    add(found, at(["a", "b"], 4))
    assert found == {"a": {"b": 7}}


def test_a_key_says_its_number():
    keys = {"0": 0.0, "6100": 1.0, "6999": 9.99, "7000": 10.0, "8123": 123.0, "5250": 0.25, "-8123": -123.0}
    assert {key: number(key) for key in keys} == keys


@given(HISTOGRAMS, st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]))
def test_a_quantile_is_that_of_the_numbers(rounded, q):
    numbers = [number(key) for key, n in rounded.items() for _ in range(n)]
    found, expected = Spread(rounded).quantile(q), metrics.quantile(numbers, q)
    assert Spread(rounded).n == len(numbers)
    assert (found is None) == (expected is None)
    assert found is None or math.isclose(found, expected, rel_tol=1e-12)


@given(HISTOGRAMS, st.randoms(use_true_random=False))
def test_a_point_of_coverage_is_over_all_that_reach_its_threshold(counted, draw):
    right = {key: draw.randint(0, n) for key, n in counted.items()}
    points, total = list(surest({"n": counted, "right": right})), sum(counted.values())
    for n, of, correct, threshold in points:
        reach = [key for key in counted if 1 - number(key) >= threshold]
        assert (n, of) == (sum(counted[key] for key in reach), total)
        assert correct == sum(right[key] for key in reach)
    sizes = [n for n, *_ in points]
    assert sizes == sorted(set(sizes))
    reachable = sorted({sum(counted[k] for k in counted if number(k) <= number(key)) for key in counted})
    assert sizes == sorted({min(n for n in reachable if 10 * n >= total * tenth) for tenth in range(1, 11) if total})
