"""A policy's own calibration: what it does to a decision, when it counts, and that codes do not matter to it."""

import json
from dataclasses import replace
from math import exp, log

import pytest
from serving import with_policy
from structlog.testing import capture_logs

from models import taxonomy
from models.llm import policy
from models.llm.answer import answer
from models.llm.policy import NONE, Temperatures
from models.taxonomy import Label, TaxonomyField
from service.config import Arm
from workers.calibrations import Calibrations
from workers.cascade import decide, scaled

FIELD = TaxonomyField(labels=(Label(id="a", automate_at=0.9), Label(id="b"), Label(id="other")))
POLICY = Arm(primary="p", fallback="f", escalate_below=0.8)
OWN = Temperatures(alone=2.0, escalated=0.5)
CODES = ({"a": "A", "b": "B", "other": "C"}, {"a": "Q", "b": "A", "other": "B"})


def said(codes, **scores):
    """An answer of an llm with these codes, from what its engine would list."""
    return answer({codes[label]: log(p) for label, p in scores.items()}, codes, 1.0)


def test_codes_of_two_llms_do_not_matter_only_the_labels_do():
    first, second = {"a": 0.6, "b": 0.3, "other": 0.1}, {"a": 0.5, "b": 0.1, "other": 0.4}
    expected = {"a": 0.5477, "b": 0.1732, "other": 0.2}
    expected = {label: weight / (0.5477 + 0.1732 + 0.2) for label, weight in expected.items()}
    for codes, others in (CODES, CODES[::-1], (CODES[0], CODES[0])):
        decision = decide(said(codes, **first), said(others, **second), POLICY, FIELD)
        assert decision.scores == pytest.approx(expected, abs=1e-4)
        assert decision.llms == ["p", "f"]


def test_scaling_is_a_power_normalised():
    assert scaled({"a": 0.8, "b": 0.2}, 0.5) == pytest.approx({"a": 0.64 / 0.68, "b": 0.04 / 0.68})
    assert scaled({"a": 1.0, "b": 0.0}, 5.0)["b"] == pytest.approx(exp(log(1e-300) / 5))


def test_an_escalated_ticket_is_scaled_by_its_own_temperature_and_gets_the_usual_action():
    first, second = said(CODES[0], a=0.7, b=0.2, other=0.1), said(CODES[1], a=0.8, b=0.1, other=0.1)
    plain = decide(first, second, POLICY, FIELD)
    own = decide(first, second, POLICY, FIELD, OWN)
    assert (plain.calibrated, plain.action, plain.temperature) == (False, "review", 1.0)
    assert own.scores == pytest.approx(scaled(plain.scores, 0.5))
    assert (own.label, own.confidence) == ("a", pytest.approx(scaled(plain.scores, 0.5)["a"]))
    assert (own.calibrated, own.action, own.reason, own.llms) == (True, "automate", "escalated", ["p", "f"])
    assert own.alternatives[0]["confidence"] == own.scores[own.alternatives[0]["label"]]
    unsure = decide(
        said(CODES[0], a=0.4, b=0.4, other=0.2), said(CODES[1], a=0.4, b=0.3, other=0.3), POLICY, FIELD, OWN
    )
    assert (unsure.calibrated, unsure.action, unsure.reason) == (True, "review", "escalated")


def test_a_ticket_that_was_not_escalated_is_scaled_by_the_other():
    own = decide(said(CODES[0], a=0.95, b=0.04, other=0.01), None, POLICY, FIELD, OWN)
    assert own.confidence == pytest.approx(0.95**0.5 / (0.95**0.5 + 0.04**0.5 + 0.01**0.5))
    assert (own.calibrated, own.action, own.reason, own.llms) == (True, "review", "low_confidence", ["p"])


def test_what_has_no_temperature_of_its_own_is_as_before():
    first, second = said(CODES[0], a=0.7, b=0.2, other=0.1), said(CODES[1], a=0.8, b=0.1, other=0.1)
    assert decide(first, second, POLICY, FIELD, Temperatures(alone=2.0)) == decide(first, second, POLICY, FIELD)
    silent = decide(first, None, POLICY, FIELD, OWN)
    assert (silent.calibrated, silent.action, silent.reason) == (False, "review", "escalated_without_fallback")
    assert silent.scores == first.scores


def test_two_llms_that_put_little_on_the_labels_do_not_automate():
    codes = CODES[0]
    vague = answer({codes[label]: log(p / 2) for label, p in {"a": 0.98, "b": 0.01, "other": 0.01}.items()}, codes, 1.0)
    first = said(codes, a=0.7, b=0.2, other=0.1)
    assert decide(first, vague, POLICY, FIELD, OWN).action == "suggest"


@pytest.fixture
def cards(llms):
    return [llms.all[name].card for name in ("primary", "fallback")]


@pytest.fixture
def labels(loaded):
    return taxonomy.load(loaded.taxonomy_path).fields_["category"]


@pytest.fixture
def written(tmp_path, cards, labels):
    """Writes policy.json for the demo llms; the arguments change what it is valid for."""

    def write(**changes):
        ids = [label.id for label in labels.labels]
        valid = policy.basis(*cards, "category", ids, "average", 0.8) | changes
        groups = {name: {"temperature": t, "n": 300, "before": 1.0, "after": 0.9} for name, t in GROUPS.items()}
        content = {"data_sha256": "0" * 64, "fields": {"category": {"valid_for": valid} | groups}}
        (tmp_path / "policy.json").write_text(json.dumps(content))
        return Calibrations(tmp_path)

    return write


GROUPS = {"alone": 1.5, "escalated": 0.5}
ARM = Arm(primary="primary", fallback="fallback", escalate_below=0.8, calibration="policy.json")


def test_a_file_counts_while_everything_is_as_it_was(written, cards, labels):
    found = written().of(ARM, cards, "category", labels)
    assert (found.alone, found.escalated) == (1.5, 0.5)


@pytest.mark.parametrize(
    "changed",
    [
        "labels", "combine", "escalate_below", "primary digest", "primary prompt", "primary codes",
        "primary calibration", "fallback digest", "fallback prompt", "fallback codes", "fallback calibration",
    ],
)  # fmt: skip
def test_anything_else_is_told_once_and_not_used(written, cards, labels, changed):
    calibrations = written(**{changed: "another"})
    with capture_logs() as lines:
        assert [calibrations.of(ARM, cards, "category", labels) for _ in range(3)] == [NONE] * 3
    assert [line["event"] for line in lines] == ["policy.uncalibrated"]
    assert f"has changed ({changed})" in lines[0]["why"]


def test_a_prior_of_the_primary_is_another_calibration(written, cards, labels):
    fit = cards[0].calibration["category"]
    calibrations = written()
    shifted = replace(cards[0], calibration={"category": replace(fit, prior={"other": -1.0}, id="with-prior")})
    assert calibrations.of(ARM, [shifted, cards[1]], "category", labels) == NONE
    (why,) = calibrations.problems
    assert "has changed (primary calibration)" in why


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("{", "is wrong at its top"),
        ('{"data_sha256": "0", "fields": {"category": {"valid_for": {}, "alone": {"temperature": 9}}}}', "temperature"),
        ('{"data_sha256": "0", "fields": {}}', "has nothing for field category"),
    ],
)
def test_a_file_that_will_not_do_is_told_in_a_sentence(tmp_path, cards, labels, content, says):
    if content is not None:
        (tmp_path / "policy.json").write_text(content)
    calibrations = Calibrations(tmp_path)
    assert calibrations.of(ARM, cards, "category", labels) == NONE
    (problem,) = calibrations.problems
    assert says in problem


def test_an_arm_without_a_fallback_has_none():
    with pytest.raises(ValueError, match="calibration is for a policy with a fallback"):
        Arm(primary="p", calibration="policy.json")


def test_a_worker_uses_it_and_the_rows_say_so(client, drain, sql, written, monkeypatch):
    monkeypatch.setattr(drain.llms, "calibrations", written())
    drain.config = with_policy(drain.config, calibration="policy.json")
    client.post("/v1/tickets", json={"external_id": "hard", "body": "card"})
    client.post("/v1/tickets", json={"external_id": "easy", "body": "I want a refund"})
    sql("UPDATE tickets SET shadow = false")
    drain.run()
    rows = sql("""SELECT t.external_id, d.calibrated, d.llms, d.reason, d.confidence FROM triages d
                  JOIN tickets t ON t.id = d.ticket_id ORDER BY 1 DESC""")
    assert [row[:3] for row in rows] == [("hard", True, ["primary", "fallback"]), ("easy", True, ["primary"])]
    assert rows[0][3] == "escalated"
    said = sql("""SELECT t.external_id, p.role, p.reason, p.scores FROM predictions p
                  JOIN tickets t ON t.id = p.ticket_id ORDER BY 1 DESC, p.id""")
    assert [row[:3] for row in said] == [
        ("hard", "primary", "assigned"), ("hard", "fallback", "escalated"), ("easy", "primary", "assigned"),
    ]  # fmt: skip
    assert rows[1][4] == pytest.approx(max(scaled(said[2][3], 1.5).values()))
