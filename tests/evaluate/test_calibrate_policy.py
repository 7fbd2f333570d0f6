"""calibrate --policy end to end: its file, what evaluate and doctor make of it, and what it refuses."""

import json

import pytest
from shipped import SHIPPED, noisy, write

HARD = 0.965  # the primary is less sure than that of about every other of its shipped tickets


@pytest.fixture
def unsure(folder):
    """A threshold at which both groups are large enough; gives a way to change the policy's line further."""

    def change(more=""):
        text = (folder / "triage.yaml").read_text()
        head, _, tail = text.partition("policy: ")
        line = f"policy: {{primary: primary, fallback: fallback, escalate_below: {HARD}{more}}}\n"
        (folder / "triage.yaml").write_text(head + line + tail.partition("\n")[2])

    change()
    return change


def own(folder, name="policy.json"):
    return json.loads((folder / name).read_text())["fields"]["category"]


def evaluated(triage, folder):
    ran = triage("evaluate", "--test", "test.jsonl", "--policy", "--json", "o.json")
    assert ran.code == 0, ran.err
    found = json.loads((folder / "o.json").read_text())
    return found["results"][0], found["notes"]


def test_each_group_gets_its_temperature_and_evaluate_uses_them(triage, folder, unsure):
    write(folder / "rows.jsonl", noisy(SHIPPED[:400]))
    write(folder / "test.jsonl", noisy(SHIPPED[400:600]))
    plain, _ = evaluated(triage, folder)
    ran = triage("calibrate", "--policy", "--data", "rows.jsonl")
    assert ran.code == 0, ran.err
    fit = own(folder)
    assert fit["alone"]["n"] + fit["escalated"]["n"] == 400
    assert min(fit[group]["n"] for group in ("alone", "escalated")) >= 100
    assert fit["alone"]["temperature"] > 1  # a third of the labels are wrong
    assert "300 or more are better" in ran.err
    assert fit["valid_for"]["escalate_below"] == HARD
    assert "calibration: policy.json" in ran.err

    unsure(", calibration: policy.json")
    scaled, notes = evaluated(triage, folder)
    assert notes == []
    assert plain["calibration"]["share"] < 1
    assert (scaled["calibration"]["state"], scaled["calibration"]["share"]) == ("calibrated", 1)
    assert scaled["calibration"]["own"] == sorted(fit[group]["temperature"] for group in ("alone", "escalated"))
    assert scaled["nll"] < plain["nll"]
    assert scaled["oos_auroc"] == pytest.approx(plain["oos_auroc"], abs=0.01)  # a temperature leaves it alone
    assert "valid" in triage("doctor").out

    unsure(", calibration: policy.json, combine: replace")
    other, notes = evaluated(triage, folder)
    assert other["calibration"]["share"] < 1
    (note,) = notes
    assert "does not count for field category" in note
    assert "(combine)" in note
    assert "(combine)" in triage("doctor").out


def test_a_group_of_too_few_has_none_and_an_arm_has_a_file_of_its_own(triage, folder):
    """At the committed threshold few of these tickets are escalated."""
    text = (folder / "triage.yaml").read_text()
    arms = "{primary: primary, fallback: fallback}, b: {primary: fallback}"
    (folder / "triage.yaml").write_text(f"{text}experiments: [{{name: one, mode: split, a: {arms}}}]\n")
    write(folder / "rows.jsonl", noisy(SHIPPED[:150]))
    ran = triage("calibrate", "--policy", "--arm", "one.a", "--data", "rows.jsonl")
    assert ran.code == 0, ran.err
    fit = own(folder, "one.a.json")
    assert fit["alone"]["n"] >= 100
    assert fit["escalated"] is None
    assert "tickets that were escalated: a temperature needs at least 100 labelled tickets, and these are" in ran.err
    ran = triage("calibrate", "--policy", "--arm", "one.b", "--data", "rows.jsonl")
    assert "Only fallback is asked there" in ran.err


def test_too_few_rows_write_nothing(triage, folder):
    ran = triage("calibrate", "--policy", "--data", "test.jsonl", "--out", "own.json")
    assert ran.code == 1
    assert "No temperature was accepted, and nothing is written." in ran.err
    assert not (folder / "own.json").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "Say --llm NAME, or --policy"),
        (["--llm", "primary", "--policy"], "Say --llm NAME, or --policy"),
        (["--llm", "primary", "--out", "own.json"], "Say --llm NAME, or --policy"),
        (["--policy", "--arm", "nowhere.a"], "There is no arm 'nowhere.a'"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(triage, folder, options, says):
    ran = triage("calibrate", "--data", "test.jsonl", *options)
    assert ran.code == 1
    assert says in ran.err
