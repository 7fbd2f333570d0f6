"""Training: what it chooses, what it measures on rows it did not see, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import FIELDS, examples, teach

from models.errors import InvalidRequest
from models.llm.linear.crossfit import cross_fit
from models.llm.linear.model import log_softmax
from models.llm.linear.training import FITS, Example, Trained, train


def test_it_learns_and_says_how_well(trained: Trained) -> None:
    """A tenth of the rows speaks for another queue, two times in three: about .93 can be right."""
    report = trained.reports["category"]
    assert report.n == report.n_judged == report.accuracy.n == 240
    assert dict(report.labels) == {"cards": 80, "refunds": 80, "other": 80}
    assert report.accuracy.low is not None
    assert report.accuracy.low > 0.85
    assert report.accuracy.value is not None
    assert report.accuracy.value < 0.99, "some rows cannot be known: who is right there has seen them"
    assert abs(report.mean_confidence - report.accuracy.value) < 0.06
    assert report.strength == min(report.tried, key=lambda strength: report.tried[strength])
    assert report.nll <= report.nll_before


def test_new_tickets(trained: Trained) -> None:
    rows = examples(seed=7, n=90)
    said = trained.model.say(trained.model.rows([row.text for row in rows]), "category")
    found = [said.labels[best] for best in said.logprobs.argmax(axis=1)]
    assert np.mean([one == row.labels["category"] for one, row in zip(found, rows, strict=True)]) > 0.8
    np.testing.assert_allclose(np.exp(said.logprobs).sum(axis=1), 1)


def test_the_same_tickets_give_the_same_llm(trained: Trained) -> None:
    again = teach(examples())
    assert again.reports == trained.reports
    np.testing.assert_array_equal(again.model.heads["category"].matrix, trained.model.heads["category"].matrix)


def test_the_scope_is_low_where_no_queue_fits(trained: Trained) -> None:
    said = trained.model.say(trained.model.rows(["my card is blocked", "a joke about football"]), "category")
    assert said.scope[0] > said.scope[1]


def test_two_labels_are_a_softmax_too() -> None:
    pair = teach(examples(labels=("cards", "refunds")), {"category": ["cards", "refunds"]})
    said = pair.model.say(pair.model.rows(["card pin", "refund money"]), "category")
    assert said.logprobs.argmax(axis=1).tolist() == [0, 1]
    np.testing.assert_allclose(np.exp(said.logprobs).sum(axis=1), 1)
    head = pair.model.heads["category"]
    np.testing.assert_allclose(head.matrix[:, 0], -head.matrix[:, 1], atol=1e-6)


def test_two_fields_share_terms_and_have_their_own_rows() -> None:
    rows = [
        replace(row, labels=row.labels | ({"urgent": "yes" if "today" in row.text else "no"} if at % 2 else {}))
        for at, row in enumerate(examples())
    ]
    both = teach(rows, FIELDS | {"urgent": ["no", "yes"]})
    assert (both.reports["category"].n, both.reports["urgent"].n) == (240, 120)
    said = both.model.say(both.model.rows(["help me today please", "when is the card"]), "urgent")
    assert said.logprobs.argmax(axis=1).tolist() == [1, 0]


def test_the_newest_fifth_judges_where_all_have_a_time() -> None:
    rows = [replace(row, created_at=float(at)) for at, row in enumerate(examples(n=600))]
    report = teach(rows).reports["category"]
    assert (report.n, report.n_judged) == (600, 120)
    assert "newest" in report.judged_on
    without = [replace(rows[0], created_at=None), *rows[1:]]
    assert teach(without).reports["category"].n_judged == 600


def test_fewer_than_a_hundred_rows_are_not_calibrated() -> None:
    report = teach(examples(n=99)).reports["category"]
    assert report.temperature is None
    assert report.nll == report.nll_before


def test_what_is_right_less_often_than_by_guessing_is_not_calibrated() -> None:
    """Each label has near-duplicates of one ticket only, so that all of it is held out at once."""
    told = [
        "where is my new card it did not come",
        "please give me back the money I paid you",
        "the machine swallowed all of my coins today",
        "somebody else knows my password now I fear",
        "tell us a really good joke about cats",
        "our parcel was delivered at another house",
    ]
    labels = [f"label_{number}" for number in range(len(told))]
    rows = [
        Example(f"{text} {n}", {"category": label}) for label, text in zip(labels, told, strict=True) for n in range(30)
    ]
    report = teach(rows, {"category": labels}).reports["category"]
    assert report.n_judged == 180
    assert report.accuracy.high < 1 / len(labels)
    assert report.temperature is None


def test_every_fit_is_counted() -> None:
    ticks: list[int] = []
    train(examples(n=60), FIELDS, frozenset(), ticks.append)
    assert sum(ticks) == FITS


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "same label in the field category"),
        ([Example("a card", {"category": "cards"})] * 9, "same label in the field category"),
        ([Example("a card", {"category": label}) for label in FIELDS["category"]] * 9, "nearly all the same text"),
        (examples()[:13], r"at least 5 tickets, and these of field category have fewer: refunds \(4\), other \(4\)"),
    ],
)
def test_what_nobody_can_learn_from(rows: list[Example], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        teach(rows)


def test_a_label_whose_tickets_are_all_one_text() -> None:
    same = [Example("password expired again", {"category": "refunds"})] * 30
    labels = {"category": ["cards", "refunds"]}
    assert teach(examples(labels=("cards",), n=30) + same, labels).reports["category"].n == 60


@pytest.mark.parametrize("true", [0.5, 1.0, 2.0])
def test_the_temperature_is_found(true: float) -> None:
    """Labels drawn from softmax(logits / true); the literature's name for it is a well-specified model."""
    random = np.random.default_rng(3)
    logits = random.normal(size=(4_000, 5)) * 2
    chances = np.exp(log_softmax(logits / true))
    right = np.array([random.choice(5, p=row) for row in chances])
    found = cross_fit(logits, right, np.arange(4_000) % 5)
    assert found.temperature == pytest.approx(true, rel=0.08)
    assert found.after <= found.before


def test_one_fold_has_nothing_to_judge_by() -> None:
    """As where the newest tickets are near-duplicates, all of one group."""
    logits = np.tile([[3.0, 0.0]], (200, 1))
    found = cross_fit(logits, np.repeat([0, 1], 100), np.zeros(200, int))
    assert (found.temperature, found.after) == (1.0, found.before)
    np.testing.assert_array_equal(found.scaled, log_softmax(logits))


def test_a_temperature_that_helps_nobody_is_refused() -> None:
    """Each half is best served by a temperature that makes the other worse."""
    logits = np.tile([[3.0, 0.0]], (200, 1))
    right = np.repeat([0, 1], 100)
    found = cross_fit(logits, right, np.repeat([0, 1], 100))
    assert (found.temperature, found.after) == (1.0, found.before)
