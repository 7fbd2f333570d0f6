"""The decision from two answers, by literal numbers."""

import math

import pytest

from models.llm.answer import Answer, bounded
from models.llm.answer import answer as answered
from models.taxonomy import Label, TaxonomyField
from service.config import PolicyConfig
from workers.cascade import average, decide, escalates

FIELD = TaxonomyField(labels=(Label(id="a", automate_at=0.9), Label(id="b"), Label(id="other")))
POLICY = PolicyConfig(primary="p", fallback="f", escalate_below=0.8)


def answer(calibrated=True, mass=1.0, **scores):
    label = max(scores, key=scores.get)
    p = scores[label]
    return Answer(label, p, p, mass, 0.0, 0.0, scores, True, calibrated)


def test_average_is_the_normalised_geometric_mean():
    joined = average({"a": 0.9, "b": 0.1}, {"a": 0.4, "b": 0.6})
    assert joined["a"] == pytest.approx(math.sqrt(0.36) / (math.sqrt(0.36) + math.sqrt(0.06)))
    assert sum(joined.values()) == pytest.approx(1)


def test_average_is_symmetric_and_keeps_a_shared_opinion():
    a, b = {"a": 0.7, "b": 0.2, "other": 0.1}, {"a": 0.1, "b": 0.6, "other": 0.3}
    assert average(a, b) == pytest.approx(average(b, a))
    assert average(a, a) == pytest.approx(a)


def test_average_survives_a_zero():
    joined = average({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0})
    assert joined == pytest.approx({"a": 0.5, "b": 0.5})


@pytest.mark.parametrize(
    ("given", "action", "reason"),
    [
        ({"a": 0.95, "b": 0.03, "other": 0.02}, "automate", "above_threshold"),
        ({"a": 0.85, "b": 0.10, "other": 0.05}, "suggest", "below_threshold"),
        ({"a": 0.03, "b": 0.95, "other": 0.02}, "suggest", "no_threshold"),
        ({"a": 0.03, "b": 0.02, "other": 0.95}, "review", "other"),
        ({"a": 0.95, "b": 0.03, "other": 0.02, "calibrated": False}, "review", "uncalibrated"),
        ({"a": 0.95, "b": 0.03, "other": 0.02, "mass": 0.5}, "suggest", "below_threshold"),
    ],
)
def test_actions(given, action, reason):
    found = decide(answer(**given), None, POLICY, FIELD)
    assert (found.action, found.reason, found.llms) == (action, reason, ["p"])


def test_escalation_uses_both_and_is_not_called_calibrated():
    primary, fallback = answer(a=0.5, b=0.4, other=0.1), answer(a=0.1, b=0.8, other=0.1)
    assert escalates(primary, POLICY)
    found = decide(primary, fallback, POLICY, FIELD)
    assert (found.label, found.llms, found.calibrated, found.action) == ("b", ["p", "f"], False, "review")
    assert found.confidence == pytest.approx(average(primary.scores, fallback.scores)["b"])
    replaced = decide(primary, fallback, POLICY.model_copy(update={"combine": "replace"}), FIELD)
    assert (replaced.llms, replaced.confidence) == (["f"], 0.8)


def test_escalation_without_an_answer_keeps_the_primary():
    found = decide(answer(a=0.5, b=0.4, other=0.1), None, POLICY, FIELD)
    assert (found.label, found.llms, found.reason) == ("a", ["p"], "escalated_without_fallback")


def listed(codes: dict[str, str], *rest: float, temperature: float, **scores: float) -> Answer:
    """What an llm with these codes says; the `rest` are tokens that were listed and are no codes."""
    logprobs = {codes[label]: math.log(p) for label, p in scores.items()}
    missing = [code for code in codes.values() if code not in logprobs]
    values = [*logprobs.values(), *map(math.log, rest)]
    return answered(logprobs, codes, temperature, bounded(values, missing))


def test_two_llms_with_other_codes_and_lists_by_literal_numbers():
    """Worked out by hand. One has the codes A B C at T = 2, and lists two of them and a token of 0.04; what is left is
    0.06. The other says Q A B at T = 1, where A and B mean other labels, and lists all of them."""
    primary = listed({"a": "A", "b": "B", "other": "C"}, 0.04, temperature=2.0, a=0.5, b=0.4)
    roots = {"a": 0.70711, "b": 0.63246, "other": 0.2}
    assert primary.scores == pytest.approx({k: v / 1.53957 for k, v in roots.items()}, abs=1e-5)
    assert (primary.complete, primary.label_mass) == (False, pytest.approx(0.9))
    fallback = listed({"a": "Q", "b": "A", "other": "B"}, temperature=1.0, a=0.1, b=0.7, other=0.2)
    found = decide(primary, fallback, POLICY, FIELD)
    products = {"a": 0.070711, "b": 0.442719, "other": 0.04}
    geometric = {"a": 0.265915, "b": 0.665371, "other": 0.2}
    assert {k: v**0.5 for k, v in products.items()} == pytest.approx(geometric, abs=1e-5)
    assert found.scores == pytest.approx({k: v / 1.131286 for k, v in geometric.items()}, abs=1e-5)
    assert (found.label, found.confidence) == ("b", pytest.approx(0.588155, abs=1e-5))
    assert (found.llms, found.calibrated, found.reason) == (["p", "f"], False, "escalated")
    assert {found.label, *(other["label"] for other in found.alternatives)} == {"a", "b", "other"}


def test_an_llm_without_one_of_the_labels_replaces():
    found = decide(answer(a=0.5, b=0.4, other=0.1), answer(a=0.2, b=0.8), POLICY, FIELD)
    assert (found.label, found.llms, found.confidence) == ("b", ["f"], 0.8)
    found = decide(answer(a=0.5, b=0.5), answer(a=0.2, b=0.7, other=0.1), POLICY, FIELD)
    assert (found.label, found.llms, found.confidence) == ("b", ["f"], 0.7)


def test_without_a_fallback_nothing_escalates():
    alone = PolicyConfig(primary="p")
    found = decide(answer(b=0.5, a=0.4, other=0.1), None, alone, FIELD)
    assert (found.action, found.reason, found.calibrated) == ("review", "low_confidence", True)


def test_alternatives_are_the_next_best():
    found = decide(answer(a=0.85, b=0.1, other=0.05), None, POLICY, FIELD)
    assert found.alternatives == [{"label": "b", "confidence": 0.1}, {"label": "other", "confidence": 0.05}]
