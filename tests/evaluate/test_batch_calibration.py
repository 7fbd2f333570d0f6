"""calibrate of an llm that Triage did not train: a prior from any tickets, a temperature from labelled ones."""

import json
import shutil

import numpy as np
import pytest
from shipped import SHIPPED, write

from models.llm.calibration import Calibration
from models.taxonomy import load
from service import settings
from service.cli.evaluate.asking import _raw, ask, opened
from service.config import Arm
from service.settings import DEMO_LLMS

LABELS = ("refunds", "card_payments", "top_up", "other")
TAXONOMY = "fields: {category: {labels: [{id: refunds}, {id: card_payments}, {id: top_up}, {id: other}]}}\n"
YAML = """
engines: {e: {kind: llamacpp, parallel: 1}}
llms: {stock: {engine: e, model: stock.gguf, family: llama3, calibration: own.json}}
policy: {primary: stock}
"""
BARE = [{"body": ticket["body"]} for ticket in SHIPPED[:120]]
LABELLED = [
    {"body": ticket["body"], "label": ticket["label"]["category"]}
    for ticket in SHIPPED
    if ticket["label"]["category"] in LABELS
]


@pytest.fixture
def stock(triage, tmp_path):
    """A folder with the tiny llm, asked as if it were a stock model; gives a way to calibrate it."""
    shutil.copyfile(DEMO_LLMS / "primary.gguf", tmp_path / "stock.gguf")
    (tmp_path / "triage.yaml").write_text(YAML)
    (tmp_path / "taxonomy.yaml").write_text(TAXONOMY)

    def calibrated(rows):
        write(tmp_path / "rows.jsonl", rows)
        return triage("calibrate", "--llm", "stock", "--data", "rows.jsonl")

    return calibrated


def fit(tmp_path):
    return json.loads((tmp_path / "own.json").read_text())["calibration"]["category"]


def evaluated(triage, tmp_path):
    write(tmp_path / "test.jsonl", LABELLED[150:200])
    ran = triage("evaluate", "--test", "test.jsonl", "--llm", "stock", "--json", "o.json")
    assert ran.code == 0, ran.err
    found = json.loads((tmp_path / "o.json").read_text())
    return found["results"][0], found["notes"], ran


def test_tickets_without_labels_make_a_prior_and_nothing_more(triage, tmp_path, stock):
    plain, _, _ = evaluated(triage, tmp_path)
    assert plain["calibration"]["state"] == "uncalibrated"
    ran = stock(BARE)
    assert ran.code == 0, ran.err
    assert "120 tickets make a rough prior; 300 or more are better" in ran.err
    assert "nothing is automated" in ran.err
    assert "llms.stock has calibration: own.json" in " ".join(ran.err.split())
    made = fit(tmp_path)
    assert (made["temperature"], made["n"]) == (None, 120)
    found, notes, ran = evaluated(triage, tmp_path)
    assert notes == []
    assert "batch-calibrated, prior from 120" in ran.out
    about = found["calibration"]
    assert (about["state"], about["id"], about["n"], about["share"]) == ("batch-calibrated", made["id"], 120, 0)


def test_the_prior_is_the_mean_log_probability_and_is_taken_off(tmp_path, stock, monkeypatch):
    assert stock(BARE).code == 0
    prior = np.array([fit(tmp_path)["prior"][label] for label in LABELS])
    vocabulary = load(tmp_path / "taxonomy.yaml")
    (tmp_path / "with").mkdir()
    shutil.copyfile(tmp_path / "own.json", tmp_path / "with" / "own.json")
    (tmp_path / "own.json").unlink()
    raw = logs(tmp_path, vocabulary)
    # llama.cpp rounds differently from call to call; what the prior takes off is ten times as much
    assert raw.mean(axis=0) == pytest.approx(prior, abs=0.2)
    assert np.ptp(prior) > 2
    shutil.copyfile(tmp_path / "with" / "own.json", tmp_path / "own.json")
    shifted = raw - prior
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    assert logs(tmp_path, vocabulary) == pytest.approx(shifted, abs=0.2)


def test_what_is_said_of_the_scope_is_before_prior_and_temperature():
    raw = np.log([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    prior = {"refunds": -0.2, "top_up": -3.0, "other": -5.0}
    shifted = (raw - np.array(list(prior.values()))) / 1.7
    scores = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    fit = Calibration(1.7, "fit", 300, None, prior)
    assert _raw(scores, tuple(prior), np.ones((2, 1)), fit) == pytest.approx(raw)
    assert _raw(np.exp(raw), tuple(prior), np.ones((2, 1)), None) == pytest.approx(raw)


def logs(tmp_path, vocabulary):
    """The logarithms of what the llm says of the tickets, as it is served."""
    from service.cli.evaluate.labelled import read

    rows, _ = read(tmp_path / "rows.jsonl", vocabulary, bare_too=True)
    with opened(settings.load(config=tmp_path / "triage.yaml"), ["stock"], vocabulary) as llms:
        return ask(llms, Arm(primary="stock"), vocabulary, rows, "").logs(vocabulary, "category")


def test_labelled_tickets_make_a_temperature_over_the_prior(triage, tmp_path, stock):
    ran = stock(LABELLED[:150])
    assert ran.code == 0, ran.err
    made = fit(tmp_path)
    assert made["prior"].keys() == set(LABELS)
    assert made["temperature"] > 1  # the tiny llm does not understand such a prompt
    found, _, _ = evaluated(triage, tmp_path)
    assert (found["calibration"]["state"], found["calibration"]["share"]) == ("calibrated", 1)


def test_labels_with_too_few_rows_keep_the_prior(tmp_path, stock):
    ran = stock(BARE + LABELLED[:20])
    assert "a temperature needs at least 100 labelled tickets, and these are 20" in ran.err
    assert (fit(tmp_path)["temperature"], fit(tmp_path)["n"]) == (None, 140)


def test_too_few_for_a_prior(tmp_path, stock):
    ran = stock(BARE[:99])
    assert ran.code == 1
    assert "a prior needs at least 100 tickets, and these are 99" in ran.err
    assert not (tmp_path / "own.json").exists()


def test_other_words_about_a_label_are_another_prompt(triage, tmp_path, stock):
    assert stock(BARE).code == 0
    (tmp_path / "taxonomy.yaml").write_text(TAXONOMY.replace("{id: top_up}", "{id: top_up, title: Money in}"))
    found, notes, _ = evaluated(triage, tmp_path)
    assert found["calibration"]["state"] == "uncalibrated"
    assert notes == [
        "The calibration of stock does not count for field category, because it was fitted for other words about the "
        "labels in the prompt: run triage calibrate again."
    ]


def test_a_broken_file_is_a_sentence(triage, tmp_path, stock):
    (tmp_path / "own.json").write_text("{")
    write(tmp_path / "test.jsonl", LABELLED[:5])
    ran = triage("evaluate", "--test", "test.jsonl", "--llm", "stock")
    assert ran.code == 1
    assert "own.json is no calibration that triage calibrate wrote" in ran.err
