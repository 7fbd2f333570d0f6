"""calibrate end to end: the card is written whole, or stays byte for byte as it was."""

import json

import numpy as np
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
