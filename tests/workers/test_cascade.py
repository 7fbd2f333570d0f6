"""The decision from two answers, by literal numbers."""

import math
from dataclasses import replace

import pytest

from models.llm.answer import Answer
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


def test_what_an_engine_did_not_list_is_at_most_as_likely_as_its_last():
    joined = average({"a": 0.6, "b": 0.4}, {"a": 0.5, "b": 0.3, "other": 0.2})
    assert joined == pytest.approx(average({"a": 0.6, "b": 0.4, "other": 0.4}, {"a": 0.5, "b": 0.3, "other": 0.2}))
    part = replace(answer(a=0.6, b=0.4), complete=False)
    found = decide(part, answer(a=0.1, b=0.8, other=0.1), POLICY, FIELD)
    assert (found.label, found.llms) == ("b", ["p", "f"])
    assert {found.label, *(other["label"] for other in found.alternatives)} == {"a", "b", "other"}


def test_an_llm_without_one_of_the_labels_replaces():
    found = decide(answer(a=0.5, b=0.4, other=0.1), answer(a=0.2, b=0.8), POLICY, FIELD)
    assert (found.label, found.llms) == ("b", ["f"])


def test_without_a_fallback_nothing_escalates():
    alone = PolicyConfig(primary="p")
    found = decide(answer(b=0.5, a=0.4, other=0.1), None, alone, FIELD)
    assert (found.action, found.reason, found.calibrated) == ("review", "low_confidence", True)


def test_alternatives_are_the_next_best():
    found = decide(answer(a=0.85, b=0.1, other=0.05), None, POLICY, FIELD)
    assert found.alternatives == [{"label": "b", "confidence": 0.1}, {"label": "other", "confidence": 0.05}]
