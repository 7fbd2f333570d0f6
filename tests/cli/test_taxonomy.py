"""taxonomy show, init, lint as commands."""

import json

import yaml

ROWS = [
    {"body": "the printer is out of paper", "label": "Hardware"},
    {"body": "<b>my password</b>\nis gone", "label": {"category": "Access", "urgency": "high"}},
    {"body": "no screen at all", "label": {"category": "Hardware", "urgency": "low"}},
    {"body": "nobody has labelled this"},
]

DRAGONS = "fields: {category: {labels: [{id: refunds}, {id: dragons}]}}"


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_draft_is_a_vocabulary_that_loads(triage, tmp_path):
    ran = triage("taxonomy", "init", "--data", written(tmp_path / "t.jsonl", ROWS), "--out", tmp_path / "t.yaml")
    assert (ran.code, ran.out) == (0, "")
    fields = yaml.safe_load((tmp_path / "t.yaml").read_text())["fields"]
    assert {name: [label["id"] for label in field["labels"]] for name, field in fields.items()} == {
        "category": ["Hardware", "Access"],
        "urgency": ["high", "low"],
    }
    assert fields["category"]["labels"][1]["examples"] == ["my password is gone"]
    again = triage("taxonomy", "init", "--data", tmp_path / "t.jsonl", "--out", tmp_path / "t.yaml")
    assert again.code == 1
    assert "exists already" in again.err


def test_a_draft_from_a_wrong_file_has_a_sentence(triage, tmp_path):
    bad = written(tmp_path / "t.jsonl", [{"body": "x", "label": ["a"]}])
    for data, sentence in ((bad, "`label` must be a text"), (tmp_path / "none.jsonl", "cannot be read")):
        ran = triage("taxonomy", "init", "--data", data, "--out", tmp_path / "t.yaml")
        assert ran.code == 1
        assert sentence in ran.err
    assert not (tmp_path / "t.yaml").exists()


def test_lint_names_what_to_do_and_fails_for_a_label_without_a_code(triage, tmp_path):
    triage("init")
    fine = triage("taxonomy", "lint")
    assert fine.code == 0
    assert "fewer than 3 examples" in fine.out
    (tmp_path / "taxonomy.yaml").write_text(DRAGONS)
    for file in ([], ["taxonomy.yaml"], [tmp_path / "taxonomy.yaml"]):
        ran = triage("taxonomy", "lint", *file, "--json")
        assert ran.code == 1
        found = json.loads(ran.out)
        assert found[0]["what"] == "the llm primary has no code for dragons"
        assert found[0]["level"] == "error"


def test_no_llm_has_to_know_the_labels_of_a_draft(triage, tmp_path):
    triage("init")
    (tmp_path / "draft.yaml").write_text(DRAGONS)
    ran = triage("taxonomy", "lint", "draft.yaml", "--json")
    assert ran.code == 0
    assert {one["level"] for one in json.loads(ran.out)} == {"warning"}


def test_show_is_what_is_stored(stored):
    assert "card_payments" in stored("taxonomy", "show").out
    found = json.loads(stored("taxonomy", "show", "--json").out)
    assert found["version"] == 1
    assert found["fields"]["category"]["labels"][0]["id"] == "card_delivery_and_activation"
