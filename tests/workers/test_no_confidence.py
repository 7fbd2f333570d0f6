"""Answers of llms that only chose a label, on their way to a decision."""

from math import log

import pytest

from models.errors import EngineError
from models.llm.answer import Answer, answer, chosen
from models.taxonomy import TaxonomyField
from service.config import Arm
from workers.cascade import decide, escalates, stand_in

FIELD = TaxonomyField.model_validate({"labels": [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}]})
CODES = {"a": "A", "b": "B"}
POLICY = Arm(primary="p", fallback="f", escalate_below=0.8)
MUTE = chosen("A", CODES)


def sure(p: float) -> Answer:
    return answer({"A": log(1 - p), "B": log(p)}, CODES, 1.0)


def test_nothing_is_made_up_beside_the_label() -> None:
    assert MUTE.label == "a"
    assert {MUTE.confidence, MUTE.raw_confidence, MUTE.label_mass, MUTE.margin, MUTE.entropy} == {None}
    assert (MUTE.scores, MUTE.complete, MUTE.calibrated) == ({}, False, False)
    with pytest.raises(EngineError, match="no label of this field"):
        chosen("C", CODES)


def test_the_fallback_is_asked_and_decides_as_if_alone() -> None:
    assert escalates(MUTE, POLICY)
    decision = decide(MUTE, sure(0.95), POLICY, FIELD)
    assert (decision.label, decision.llms, decision.calibrated) == ("b", ["f"], True)
    assert (decision.action, decision.reason) == ("suggest", "primary_without_confidence")
    unsure = decide(MUTE, sure(0.6), POLICY, FIELD)
    assert (unsure.action, unsure.reason) == ("review", "primary_without_confidence")


@pytest.mark.parametrize("policy", [POLICY, POLICY.model_copy(update={"fallback": None})])
@pytest.mark.parametrize("fallback", [None, MUTE])
def test_without_anyone_who_is_sure_a_human_decides(policy: Arm, fallback: Answer | None) -> None:
    decision = decide(MUTE, fallback, policy, FIELD)
    assert (decision.label, decision.confidence, decision.calibrated) == ("a", None, False)
    assert (decision.action, decision.reason, decision.alternatives) == ("review", "no_confidence", [])
    assert escalates(MUTE, policy) == (policy.fallback is not None)


def test_a_mute_fallback_does_not_help_an_unsure_primary() -> None:
    decision = decide(sure(0.6), MUTE, POLICY, FIELD)
    assert (decision.label, decision.llms) == ("b", ["p"])
    assert (decision.action, decision.reason) == ("review", "escalated_without_fallback")


def test_a_mute_fallback_that_stands_in_leaves_it_to_a_human() -> None:
    decision = stand_in(MUTE, POLICY, FIELD)
    assert (decision.label, decision.llms, decision.action, decision.confidence) == ("a", ["f"], "review", None)
