"""train linear and what classifies with it: what is printed, what is refused, and that both ways of asking agree."""

import json
import re

import pytest
from synthetic import TAXONOMY, tickets

from service.cli.classify import batch

CONFIG = """
taxonomy: taxonomy.yaml
engines: {cpu: {kind: linear}}
llms: {linear: {engine: cpu, model: trained}}
policy: {primary: linear, escalate_below: 0.7}
"""


@pytest.fixture
def train(triage, tmp_path):
    (tmp_path / "taxonomy.yaml").write_text(TAXONOMY)

    def run(rows, out="trained"):
        text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
        (tmp_path / "t.jsonl").write_text(text)
        return triage("train", "linear", "--taxonomy", "taxonomy.yaml", "--data", "t.jsonl", "--out", out)

    return run


@pytest.fixture
def classify(train, triage, tmp_path):
    assert train(tickets()).code == 0
    (tmp_path / "triage.yaml").write_text(CONFIG)

    def run(*options):
        (tmp_path / "out.jsonl").unlink(missing_ok=True)
        ran = triage("classify", "t.jsonl", "--out", "out.jsonl", *options)
        assert ran.code == 0, ran.err
        return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()], ran

    return run


def test_it_says_what_it_learned_and_how_to_use_it(train, tmp_path):
    ran = train(tickets())
    assert ran.code == 0, ran.err
    assert "category: 240 tickets, 3 labels" in ran.out
    assert re.search(r"refunds\W+80", ran.out)
    assert re.search(r"accuracy +0\.\d{3} \(95 % 0\.\d{3} to 0\.\d{3}, n 240\)", ran.out)
    assert re.search(r"ECE +0\.\d{3}, [+-]0\.\d{3} beyond chance", ran.out)
    assert "from 240 tickets only, 300 would be better" in ran.out
    assert "llms: {linear: {engine: cpu, model: trained}}" in ran.out
    assert sorted(path.name for path in (tmp_path / "trained").iterdir()) == [
        "ATTRIBUTION.md",
        "card.json",
        "model.skops",
    ]


def test_fewer_than_a_hundred_tickets_are_not_calibrated(train, tmp_path):
    ran = train(tickets(n=99))
    assert ran.code == 0
    assert "99 tickets are too few to calibrate on" in ran.out
    assert json.loads((tmp_path / "trained" / "card.json").read_text())["calibration"] == {}


def test_rows_that_teach_nothing_are_left_out_by_line(train):
    ran = train([{"body": " ", "label": "cards"}, {"body": "a song", "label": "oos"}, *tickets(n=60)])
    assert ran.code == 0
    assert "Left out, because nothing is left of the text after cleaning: 1 (line 1)." in ran.err
    assert "the taxonomy has none such: 1 (line 2)." in ran.err
    assert "category: 60 tickets" in ran.out


def test_a_label_may_be_given_by_its_title(train):
    ran = train([row | {"label": "Money back"} if row["label"] == "refunds" else row for row in tickets(n=60)])
    assert (ran.code, "category: 60 tickets" in ran.out) == (0, True)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "t.jsonl has no tickets."),
        ([*tickets(n=712), "{broken\n"], "t.jsonl, line 713: not valid JSON."),
        (
            [*tickets(), {"body": "x", "label": "loans"}],
            "labels that are not in the taxonomy: category: 'loans' (1 row)",
        ),
        ([*tickets(), {"body": "x"}], "1 ticket without a label, the first on line 241"),
        ([{"body": f"card {n}", "label": "cards"} for n in range(9)], "All tickets have the same label"),
        (list(tickets(n=13)), "Each label needs at least 5 tickets, and these of field category have fewer"),
        ([row | {"created_at": "soon"} for row in tickets()], "t.jsonl, line 1: `created_at` must be a time like"),
    ],
)
def test_what_it_refuses(train, tmp_path, rows, sentence):
    ran = train(rows)
    assert ran.code == 1
    assert sentence in ran.err
    assert not (tmp_path / "trained").exists()


def test_standard_input_cannot_be_read_twice(train, triage, tmp_path):
    ran = triage("train", "linear", "--taxonomy", "taxonomy.yaml", "--data", "-", "--out", "trained")
    assert ran.code == 1
    assert "give a file, not standard input" in ran.err
    assert not (tmp_path / "trained").exists()


def test_nothing_is_written_over(train, tmp_path):
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "mine").write_text("x")
    assert "trained exists already" in train(tickets()).err


def test_one_by_one_and_many_at_once_agree(classify, monkeypatch):
    many, ran = classify()
    assert re.search(r"240 tickets in [\d.]+ s: [\d,]+ a second", ran.err)
    monkeypatch.setattr(batch, "batch", lambda *_: None)
    one_by_one, _ = classify()
    assert len(many) == len(one_by_one) == 240
    for found, expected in zip(many, one_by_one, strict=True):
        a, b = found["triage"]["category"], expected["triage"]["category"]
        assert a.pop("confidence") == pytest.approx(b.pop("confidence"), abs=1e-6)
        assert (found["id"], a) == (expected["id"], b)
    assert {row["triage"]["category"]["action"] for row in many} == {"review", "suggest"}


def test_several_processes_keep_the_order(classify, monkeypatch):
    alone, _ = classify()
    monkeypatch.setattr(batch, "FEW", 0)
    monkeypatch.setattr(batch, "AT_ONCE", 50)
    monkeypatch.setattr(batch.os, "sched_getaffinity", lambda pid: {0, 1})
    assert classify()[0] == alone


def test_an_empty_ticket_has_no_label(classify, triage, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"id": 1, "body": " "}\n{"id": 2, "body": "my card pin is blocked"}\n')
    rows = [json.loads(line) for line in triage("classify", "t.jsonl").out.splitlines()]
    assert [row["triage"]["category"]["reason"] for row in rows] == ["empty", "no_threshold"]


def test_a_smaller_taxonomy_is_uncalibrated(classify, tmp_path):
    (tmp_path / "taxonomy.yaml").write_text("fields: {category: {labels: [{id: cards}, {id: refunds}]}}\n")
    rows, _ = classify()
    assert {row["triage"]["category"]["reason"] for row in rows} == {"uncalibrated"}
    assert {row["triage"]["category"]["label"] for row in rows} == {"cards", "refunds"}


def test_it_needs_no_line_in_triage_yaml(classify):
    rows, _ = classify("--llm", "linear:trained")
    assert rows[0]["triage"]["category"]["llms"] == ["linear:trained"]


def test_an_llm_that_is_not_there(classify, triage, tmp_path):
    (tmp_path / "trained" / "model.skops").write_bytes(b"PK")
    assert "the SHA-256 differs" in triage("classify", "t.jsonl").err
    (tmp_path / "trained" / "model.skops").unlink()
    assert "There is no linear llm at" in triage("classify", "t.jsonl").err
    assert "There is no linear llm at" in triage("llm", "list").out
