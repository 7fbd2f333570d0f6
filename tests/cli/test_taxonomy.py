"""taxonomy show, init, lint as commands."""

import json
import shutil

import pytest
import yaml
from places import PARAMETERS
from standin import ollama

from service.settings import DEMO_LLMS

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
    lint = triage("taxonomy", "lint", tmp_path / "t.yaml")
    assert lint.code == 0, "no triage.yaml has to be there"
    assert "no description: Hardware, Access" in lint.out
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


@pytest.fixture
def in_ollama(triage, tmp_path):
    """A triage.yaml over a stand-in, which has the demo's primary under the name in it."""
    triage("init")
    for suffix in ("json", "gguf"):
        shutil.copyfile(DEMO_LLMS / f"primary.{suffix}", tmp_path / f"mine.{suffix}")
    (tmp_path / "blobs").mkdir()
    with ollama(tmp_path / "blobs", version="0.24.0") as standin:
        (tmp_path / "triage.yaml").write_text(
            f"engines: {{o: {{kind: ollama, url: '{standin.url}', parallel: 2}}}}\n"
            "llms: {mine: {engine: o, model: triage-mine, card: mine.json}}\n"
            "policy: {primary: mine}\n"
        )
        yield standin


def linted(triage, *options):
    ran = triage("taxonomy", "lint", "--json", *options)
    return ran.code, {one["place"]: one for one in json.loads(ran.out) if one["place"].startswith("llms")}


def test_lint_knows_context_and_memory_from_an_ollama_that_answers(triage, in_ollama, tmp_path):
    in_ollama.add("triage-mine", tmp_path / "mine.gguf", **PARAMETERS)
    code, found = linted(triage, "--vram-gib", "8")
    assert (code, found.keys()) == (0, {"llms"})
    # 2 * 1 layer * 1 head * 16 wide * 2 bytes * 2,560 tokens * 2 slots are 0.0003 GiB; buffers count as 1 GiB.
    assert "mine 1.0 GiB (0.00 of it for 2 slots of 2,560 tokens), 1.0 GiB in all, of 8 GiB" in found["llms"]["what"]
    assert linted(triage)[1]["llms"]["do"] == "say its size with --vram-gib"
    assert linted(triage, "--vram-gib", "1")[1]["llms"]["level"] == "warning"


def test_lint_refuses_a_context_that_cuts_prompts(triage, in_ollama, tmp_path):
    in_ollama.add("triage-mine", tmp_path / "mine.gguf", **PARAMETERS | {"num_ctx": 1024})
    code, found = linted(triage)
    assert code == 1
    assert found["llms.mine"]["what"] == "its prompts need a context of 2,560 tokens, and it has 1,024"


def test_lint_says_what_it_cannot_know(triage, in_ollama, tmp_path):
    code, found = linted(triage)
    assert code == 0
    assert found["llms.mine"]["what"] == "nobody knows what 2 slots of 2,560 tokens take of the GPU"
    (tmp_path / "triage.yaml").write_text(
        "engines: {o: {kind: ollama, url: 'http://127.0.0.1:1'}}\n"
        "llms: {mine: {engine: o, model: 'mistral:7b-instruct-v0.3-q8_0', card: mine.json}}\n"
        "policy: {primary: mine}\n"
    )
    assert "mine 9.4 GiB (1.25 of it for 4 slots of 2,560 tokens)" in linted(triage)[1]["llms"]["what"]


STOCK = """
engines: {o: {kind: ollama, url: 'http://127.0.0.1:1'}, c: {kind: openai, url: 'http://127.0.0.1:1'}}
llms:
  mistral: {engine: o, model: triage-mistral-7b-v0.3, family: mistral}
  cloud: {engine: c, model: small, family: plain}
policy: {primary: mistral, fallback: cloud}
"""


def long(n):
    """A taxonomy whose header is some 30 bytes a label."""
    labels = [
        {"id": f"queue{i}", "description": f"Tickets of kind {i}.", "examples": ["x", "y", "z"]} for i in range(n)
    ]
    return yaml.safe_dump({"fields": {"category": {"labels": labels}}})


@pytest.mark.parametrize(("n", "context"), [(2, "1,024"), (77, "2,048"), (200, "4,096")])
def test_lint_counts_the_labels_of_an_llm_that_was_not_trained_on_them(triage, tmp_path, n, context):
    triage("init")
    (tmp_path / "triage.yaml").write_text(STOCK)
    (tmp_path / "taxonomy.yaml").write_text(long(n))
    code, found = linted(triage, "--vram-gib", "12")
    assert code == 0
    assert found.keys() == {"llms.mistral", "llms"}  # a cloud's memory is the cloud's
    assert f"need a context of {context} tokens" in found["llms.mistral"]["what"]
    assert f"4 slots of {context} tokens" in found["llms"]["what"]


def test_lint_refuses_more_labels_than_two_levels_of_codes_can_name(triage, tmp_path):
    triage("init")
    (tmp_path / "triage.yaml").write_text(STOCK)
    (tmp_path / "taxonomy.yaml").write_text(long(257))
    ran = triage("taxonomy", "lint")
    assert ran.code == 1
    assert "257 labels, and the llm mistral can have codes for 256" in ran.out
    assert "257 labels, and the llm cloud can have codes for 256" in ran.out


def test_lint_names_two_labels_with_one_code(triage, in_ollama, tmp_path):
    card = json.loads((tmp_path / "mine.json").read_text())
    card["codes"]["category"] = dict.fromkeys(card["codes"]["category"], "A")
    (tmp_path / "mine.json").write_text(json.dumps(card))
    code, found = linted(triage)
    assert code == 1
    assert "needs a code of its own for each label" in found["llms.mine"]["what"]


def test_show_is_what_is_stored(stored):
    assert "card_payments" in stored("taxonomy", "show").out
    found = json.loads(stored("taxonomy", "show", "--json").out)
    assert found["version"] == 1
    assert found["fields"]["category"]["labels"][0]["id"] == "card_delivery_and_activation"
