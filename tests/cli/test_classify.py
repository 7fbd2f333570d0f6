"""classify: files in, files out, without a database; a wrong line is named and no half file is left."""

import csv
import io
import json

import pytest

TICKETS = [
    {"id": "1", "body": "I want a refund"},
    {"id": "2", "subject": "Card", "body": "it has not arrived"},
    {"body": ""},
]


@pytest.fixture
def classify(triage, tmp_path):
    assert triage("init").code == 0

    def run(text, *options, name="t.jsonl"):
        (tmp_path / name).write_text(text)
        return triage("classify", name, *options)

    return run


def lines(tickets):
    return "".join(json.dumps(ticket) + "\n" for ticket in tickets)


def test_jsonl_in_jsonl_out(classify):
    ran = classify(lines(TICKETS))
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["id"] for row in rows] == ["1", "2", None]
    answers = [row["triage"]["category"] for row in rows]
    assert [a["label"] for a in answers] == ["refunds", "card_delivery_and_activation", None]
    assert answers[2]["reason"] == "empty"


def test_csv_in_csv_out(classify, tmp_path):
    ran = classify("id,subject,body\n1,,I want a refund\n2,Card,it has not arrived\n", "--out", "o.csv", name="t.csv")
    assert (ran.code, ran.out) == (0, "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "o.csv").read_text())))
    assert [row["category_label"] for row in rows] == ["refunds", "card_delivery_and_activation"]
    assert [row["intent_label"] for row in rows] == ["request_refund", "card_arrival"]
    parts = ("label", "confidence", "calibrated", "action", "reason")
    assert list(rows[0]) == ["id", *(f"{field}_{part}" for field in ("category", "intent") for part in parts)]


def test_order_and_count_are_kept(classify, tmp_path):
    classify(lines({"id": i, "body": f"question {i} about my card"} for i in range(300)), "--out", "o.jsonl")
    assert [json.loads(line)["id"] for line in (tmp_path / "o.jsonl").read_text().splitlines()] == list(range(300))


def test_one_llm_alone_is_not_the_cascade(classify):
    ran = classify(lines(TICKETS[:1]), "--llm", "fallback")
    assert json.loads(ran.out)["triage"]["category"]["llms"] == ["fallback"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (lines(TICKETS[:2]) + "{\n", "line 3"),
        (lines(TICKETS[:1]) + '{"text": "a"}\n', "line 2"),
        ("[]\n", "line 1"),
        ('{"body": "a", "subject": 1}\n', "line 1"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_written(classify, tmp_path, text, names):
    ran = classify(text, "--out", "o.jsonl")
    assert ran.code == 1
    assert names in ran.err
    assert not list(tmp_path.glob("o.jsonl*"))


@pytest.mark.parametrize(
    ("text", "told"), [("id;body\n1;a\n", "no column `body`, only `id;body`"), ("id,body\n1,a,b\n", "line 2: it has 3")]
)
def test_a_csv_with_wrong_columns_is_refused(classify, tmp_path, text, told):
    ran = classify(text, "--out", "o.csv", name="t.csv")
    assert ran.code == 1
    assert told in ran.err
    assert not list(tmp_path.glob("o.csv*"))


def test_an_llm_that_cannot_be_loaded_leaves_no_half_file(classify, tmp_path):
    ran = classify(lines(TICKETS), "--llm", "llamacpp:nowhere.gguf", "--out", "o.jsonl")
    assert ran.code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.jsonl", "taxonomy.yaml", "triage.yaml"]


def test_wrong_names(classify, triage):
    assert "primary, fallback" in classify(lines(TICKETS), "--llm", "x").err
    assert ".csv" in classify(lines(TICKETS), "--out", "o.txt").err
    assert "nowhere" in triage("classify", "nowhere").err


def test_other_labels_for_one_call(classify, tmp_path):
    (tmp_path / "two.yaml").write_text("fields: {category: {labels: [{id: top_up}, {id: cash_and_atm}]}}")
    ran = classify(lines(TICKETS[:1]), "--taxonomy", "two.yaml")
    assert json.loads(ran.out)["triage"]["category"]["label"] in ("top_up", "cash_and_atm")
    assert "nowhere.yaml cannot be read" in classify(lines(TICKETS), "--taxonomy", "nowhere.yaml").err


def test_an_empty_file_is_an_empty_answer(classify):
    assert classify("").out == ""


def test_a_file_that_is_there_is_never_written_over(classify, tmp_path):
    given = lines(TICKETS)
    ran = classify(given, "--out", "t.jsonl")
    assert ran.code == 1
    assert "exists already" in ran.err
    assert (tmp_path / "t.jsonl").read_text() == given


def test_an_external_id_is_an_id_too(classify):
    assert json.loads(classify('{"external_id": "E-1", "body": "I want a refund"}\n').out)["id"] == "E-1"


def test_no_cell_of_the_csv_is_a_formula(classify):
    ran = classify("id,body\n=cmd,I want a refund\n", name="t.csv")
    assert "'=cmd" in ran.out
