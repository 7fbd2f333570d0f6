"""init: the demo's files, or from labelled tickets a vocabulary and an llm that serve at once."""

import json

import pytest
import yaml
from processes import Up
from synthetic import tickets

BROKEN = "{broken\n"
PARTS = ["ATTRIBUTION.md", "card.json", "model.skops"]


@pytest.fixture
def init(triage, tmp_path):
    def run(rows, folder="mine"):
        text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
        (tmp_path / "t.jsonl").write_text(text)
        return triage("init", folder, "--data", "t.jsonl")

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_labelled_tickets_become_everything_that_serves(init, triage, tmp_path, monkeypatch):
    ran = init(tickets())
    assert ran.code == 0, ran.err
    mine = tmp_path / "mine"
    assert ran.err.endswith("Next: TRIAGE_CONFIG=mine/triage.yaml triage up\n")
    assert names(mine) == ["models", "taxonomy.yaml", "triage.yaml"]
    assert names(mine / "models" / "linear") == PARTS
    fields = yaml.safe_load((mine / "taxonomy.yaml").read_text())["fields"]
    assert [label["id"] for label in fields["category"]["labels"]] == ["cards", "other", "refunds"]
    right = json.loads((mine / "models" / "linear" / "card.json").read_text())["fields"]["category"]
    share = right["accuracy"]["value"]
    assert f"Field category: the llm is right on {share:.1%} of 240 tickets that it had not seen." in ran.err
    monkeypatch.chdir(mine)
    (mine / "new.jsonl").write_text('{"id": 1, "body": "my card pin is blocked"}\n')
    said = json.loads(triage("classify", "new.jsonl").out)["triage"]["category"]
    assert (said["label"], said["calibrated"], said["action"]) == ("cards", True, "suggest")
    assert triage("taxonomy", "lint").code == 0


def test_up_serves_what_it_wrote(init, tmp_path):
    assert init(tickets()).code == 0
    up = Up(tmp_path, tmp_path / "mine" / "triage.yaml")
    try:
        up.start()
        with up.client() as client:
            posted = client.post("/v1/tickets?wait=30", json={"body": "my card pin is blocked"}).json()
        assert [(one["field"], one["label"], one["llms"]) for one in posted["triage"]] == [
            ("category", "cards", ["linear"])
        ]
        assert up.sql("SELECT label, reason FROM triages") == [("cards", "no_threshold")]
    finally:
        up.end()


def test_every_field_is_learned(init, tmp_path):
    rows = [row | {"label": {"category": row["label"], "urgent": str(n % 2)}} for n, row in enumerate(tickets(n=60))]
    ran = init(rows)
    assert ran.code == 0, ran.err
    assert "Field urgent: the llm is right on" in ran.err
    assert "but too few tickets to say how sure it is: all go to review." in ran.err
    assert list(yaml.safe_load((tmp_path / "mine" / "taxonomy.yaml").read_text())["fields"]) == ["category", "urgent"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "No ticket of the file has a label"),
        ([{"body": one, "label": one} for one in "ab"], "Each label needs at least 5 tickets"),
        ([*tickets(n=30), BROKEN], "t.jsonl, line 31: not valid JSON."),
        (tickets(n=13), "Each label needs at least 5 tickets"),
        ([*tickets(n=30), {"body": "x"}], "1 ticket without a label, the first on line 31"),
        ([row | {"label": "cards"} for row in tickets(n=30)], "All tickets have the same label"),
    ],
)
def test_what_cannot_teach_leaves_nothing(init, tmp_path, rows, sentence):
    ran = init(rows)
    assert ran.code == 1
    assert sentence in ran.err
    assert names(tmp_path) == ["t.jsonl"]


def test_nothing_is_written_over(init, triage, tmp_path):
    kept = tmp_path / "mine" / "models" / "linear"
    kept.mkdir(parents=True)
    ran = init(tickets(n=60))
    assert ran.code == 1
    assert "models/linear exists already" in ran.err
    assert names(tmp_path / "mine") == ["models"]
    made = triage("init", "mine")
    assert made.code == 0
    assert made.err.endswith("Next: TRIAGE_CONFIG=mine/triage.yaml triage up\n")
    assert "triage.yaml exists already" in init(tickets(n=60)).err
