"""calibrate end to end: the card is written whole, or stays byte for byte as it was."""

import json

import numpy as np
import pytest
from shipped import SHIPPED, noisy, write

from workers.engines.llamacpp import LlamaCpp


def calibrated(triage, folder, rows, *options, llm="llamacpp:own.gguf"):
    write(folder / "rows.jsonl", rows)
    return triage("calibrate", "--llm", llm, "--data", "rows.jsonl", *options)


def test_the_card_gets_the_temperature_and_keeps_everything_else(triage, folder, own):
    before = json.loads(own.read_text())
    ran = calibrated(triage, folder, noisy(SHIPPED[:150]))
    assert ran.code == 0, ran.err
    after = json.loads(own.read_text())
    fit = after["calibration"].pop("category")
    assert fit["n"] == 150
    assert fit["key"] == before["calibration"]["category"]["key"] | {"engines": [f"llamacpp {LlamaCpp.version}"]}
    assert 1.2 < fit["temperature"] <= 5
    assert fit["id"].startswith(before["digest"][:8])
    assert fit["id"] in ran.err
    before["calibration"].pop("category")
    assert after == before
    assert triage("evaluate", "--test", "test.jsonl", "--llm", "llamacpp:own.gguf", "--json", "o.json").code == 0
    (one,) = json.loads((folder / "o.json").read_text())["results"]
    assert one["calibration"]["id"] == fit["id"]


def test_what_unseen_rows_do_not_confirm_is_not_written(triage, folder, own, answers):
    """One fold wants all confidence, the other none: each temperature does harm on the other fold."""
    before = own.read_bytes()
    tickets = SHIPPED[:100]
    fold = np.random.default_rng(0).permutation(100) % 2
    said = [label for label, _ in answers(tickets)]
    wrong = ["refunds" if label != "refunds" else "top_up" for label in said]
    labels = [wrong[at] if fold[at] and at % 2 else said[at] for at in range(100)]
    ran = calibrated(triage, folder, [t | {"label": one} for t, one in zip(tickets, labels, strict=True)])
    assert ran.code == 1
    assert "refused" in ran.err
    assert "the card stays as it is" in ran.err
    assert own.read_bytes() == before


def test_a_shipped_card_stays_as_it_is(triage, folder):
    ran = calibrated(triage, folder, SHIPPED[:150], llm="primary")
    assert ran.code == 1
    assert "The card of primary is shipped and stays as it is" in ran.err


def test_too_few_rows(triage, folder, own):
    before = own.read_bytes()
    ran = calibrated(triage, folder, SHIPPED[:99])
    assert ran.code == 1
    assert "at least 100 labelled tickets, and these are 99" in ran.err
    assert own.read_bytes() == before


def test_standard_input_cannot_be_read_twice(triage, folder, own):
    ran = triage("calibrate", "--llm", "llamacpp:own.gguf", "--data", "-")
    assert ran.code == 1
    assert "give a file, not standard input" in ran.err


def test_a_temperature_over_fewer_labels_would_not_count(triage, folder, own):
    text = (folder / "taxonomy.yaml").read_text()
    (folder / "taxonomy.yaml").write_text(text.partition("      - id: other")[0])
    ran = calibrated(triage, folder, [{"body": "I want a refund", "label": "refunds"}] * 100)
    assert ran.code == 1
    assert "knows labels of field category that the taxonomy lacks (other)" in ran.err


def changed(own, **parts):
    """The card, whose calibration was fitted for something else."""
    content = json.loads(own.read_text())
    content["calibration"]["category"]["key"] |= parts
    own.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"weights": "0" * 64}, "other weights"),
        ({"engines": ["llamacpp 1"]}, f"another engine (llamacpp 1, and this is llamacpp {LlamaCpp.version})"),
        ({"prompt": "0" * 64}, "another prompt"),
        ({"header": "0" * 64}, "other words about the labels in the prompt"),
        ({"codes": "0" * 64}, "other codes"),
        ({"labels": "0" * 64}, "other labels"),
        ({"method": "two-level"}, "another way of scoring codes"),
    ],
)
def test_a_calibration_for_something_else_is_not_used_and_everybody_says_why(triage, folder, own, parts, named):
    changed(own, **parts)
    why = (
        "The calibration of {} does not count for field category, because it was fitted for "
        f"{named}: run triage calibrate again."
    )
    write(folder / "test.jsonl", SHIPPED[:5])
    ran = triage("evaluate", "--test", "test.jsonl", "--llm", "llamacpp:own.gguf", "--json", "o.json")
    assert ran.code == 0, ran.err
    found = json.loads((folder / "o.json").read_text())
    assert found["notes"] == [why.format("llamacpp:own.gguf")]
    about = {one["field"]: one["calibration"] for one in found["results"]}["category"]
    assert (about["state"], about["n"], about["share"]) == ("uncalibrated", None, 0)

    text = (
        (folder / "triage.yaml").read_text().replace('"demo:primary"', "own.gguf").replace("demo:primary", "own.gguf")
    )
    (folder / "triage.yaml").write_text(text)
    lines = {line["what"]: line for line in json.loads(triage("doctor", "--json").out)}
    told = lines["confidence of primary"]
    assert not told["ok"]
    assert f"category: uncalibrated. {why.format('primary')}" in told["says"]
    assert "category: calibrated (n 1,034)" in lines["confidence of fallback"]["says"]
    assert why.format("primary") in triage("llm", "show", "primary").out
    state = {one["llm"]: one["calibration"] for one in json.loads(triage("llm", "list", "--json").out)}
    assert state["primary"]["category"] == {"state": "uncalibrated", "n": None, "why": why.format("primary")}
    assert state["fallback"]["category"] == {"state": "calibrated", "n": 1034, "why": None}
