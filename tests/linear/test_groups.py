"""Near-duplicates share a group, and a group is never on both sides of a fold."""

import numpy as np

from models.llm.linear.features import vocabulary, weighting
from models.llm.linear.groups import groups
from models.llm.linear.regression import FOLDS, split

TEXTS = [
    "how do i activate my new plastic card",
    "how do i activate my new plastic card please",
    "refund of a parcel that never came",
    "where is the refund for this broken phone",
    "how do i activate my new plastic card",
    "that parcel never came",
    "this phone is broken, where is yours",
]


def grouped(texts: list[str]) -> np.ndarray:
    counts = vocabulary(texts).counts(texts)[:1]
    return groups(weighting(counts).rows(counts))


def test_texts_that_nearly_agree_share_a_group() -> None:
    found = grouped(TEXTS)
    assert found[0] == found[1] == found[4]
    assert len({found[0], found[2], found[3]}) == 3


def test_texts_without_a_known_word_stay_alone() -> None:
    assert len(set(grouped([*TEXTS, "zebra", "yacht"]))) == len(set(grouped(TEXTS))) + 2


def test_a_group_stays_in_one_fold() -> None:
    texts = [f"{TEXTS[n % 3]} {n}" for n in range(30)] + [f"word{n} thing{n}" for n in range(60)]
    right, found = np.arange(90) % 3, grouped(texts)
    folds = split(right, found)
    assert set(folds) == set(range(FOLDS))
    assert all(len(set(folds[found == group])) == 1 for group in set(found))
