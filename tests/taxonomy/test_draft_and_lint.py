"""A vocabulary drafted from labelled tickets, and what the lint says of one."""

import json

import pytest

from models import taxonomy
from models.errors import ConfigError, InvalidRequest
from models.taxonomy import MOST_LABELS, Taxonomy
from models.taxonomy_draft import draft
from models.taxonomy_lint import closest, lint

ROWS = [
    ("the printer is out of paper", {"category": "Hardware"}),
    ("my printer prints nothing", {"category": "Hardware"}),
    ("the printer  is\nout of paper", {"category": "Hardware"}),
    ("please reset my password", {"category": "Access & rights"}),
    ("no password works", {"category": "Access & rights"}),
]


def field(*labels):
    return Taxonomy.model_validate({"fields": {"category": {"labels": list(labels)}}})


def test_labels_come_by_frequency_with_distinct_examples():
    found = draft(ROWS).fields_["category"]
    assert [(label.id, label.title) for label in found.labels] == [
        ("Hardware", "Hardware"),
        ("access_rights", "Access & rights"),
    ]
    assert sorted(found.labels[0].examples) == ["my printer prints nothing", "the printer is out of paper"]
    assert found.named("Access & rights") is found.labels[1]
    assert found.named("Hardware") is found.labels[0]
    assert found.named("Software") is None


def test_ids_never_collide():
    labels = ["a b", "a  b", "a_b", "a+b", "###", "***"]
    found = draft([(f"text {n}", {"category": label}) for n, label in enumerate(labels)]).fields_["category"]
    ids = [label.id for label in found.labels]
    assert len(set(ids)) == len(labels)
    assert found.named("a_b").id == "a_b"


def test_category_comes_first():
    rows = [(f"text {n}", {"urgency": "low" if n % 2 else "high", "category": str(n % 3)}) for n in range(6)]
    assert list(draft(rows).fields_) == ["category", "urgency"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "No ticket of the file has a label"),
        ([("x", {})], "No ticket of the file has a label"),
        ([("x", {"category": "a"}), ("y", {"category": "a"})], "the same label in the field category"),
    ],
)
def test_what_cannot_be_drafted(rows, sentence):
    with pytest.raises(InvalidRequest, match=sentence):
        draft(rows)


def test_the_closest_pair_is_found():
    found = field(
        {"id": "refund_missing", "description": "a refund that did not arrive in time"},
        {"id": "top_up", "description": "putting money into the account"},
        {"id": "refund_late", "description": "a refund that did not arrive in time yet"},
    )
    first, *_ = closest(found.fields_["category"])
    assert set(first[:2]) == {"refund_missing", "refund_late"}
    assert 0.6 < first[2] <= 1
    assert any("read alike" in finding.what for finding in lint(found, {}))


def test_each_weakness_has_a_finding():
    found = field({"id": "a", "description": "Apples", "examples": ["x", "y", "z"]}, {"id": "b"})
    said = {(one.level, one.what) for one in lint(found, {"tiny": {"category": {"a": "A"}}})}
    assert said == {
        ("error", "the llm tiny has no code for b"),
        ("warning", "no description: b"),
        ("warning", "fewer than 3 examples: b"),
    }
    assert all(one.do for one in lint(found, {}))


def test_many_labels_are_a_warning():
    found = field(*({"id": f"l{n}", "description": f"words{n}", "examples": ["x", "y", "z"]} for n in range(61)))
    assert ["many" in one.what for one in lint(found, {})] == [True]


@pytest.mark.parametrize("n", [2, 20, 77, 151, MOST_LABELS])
def test_these_sizes_are_a_vocabulary(n):
    assert len(field(*({"id": f"l{i}"} for i in range(n))).fields_["category"].labels) == n


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fields: {category: {labels: [{id: a}]}}", "at least 2 items"),
        (
            "fields: {category: {labels: [" + ", ".join(f"{{id: l{n}}}" for n in range(5000)) + "]}}",
            "at most 1000 items",
        ),
        ("fields: {category: {labels: [{id: a}, {id: b, colour: red}]}}", "colour: unknown key"),
        ("fields: {category: {labels: [{id: a}, {id: a}]}}", "given twice: a"),
    ],
)
def test_a_broken_vocabulary_has_a_sentence(tmp_path, text, sentence):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        taxonomy.load(tmp_path / "t.yaml")


def test_a_document_of_an_older_release_is_the_same_vocabulary(database):
    from models.db import transaction

    with transaction(database) as session:
        version, found = taxonomy.active(session)
        old = json.loads(found.document())
        for label in old["fields"]["category"]["labels"]:
            for key in ("examples", "critical", "write_as"):
                del label[key]
        session.connection().exec_driver_sql("UPDATE taxonomy_versions SET document = %s", (json.dumps(old),))
    with transaction(database) as session:
        assert taxonomy.store(session, found) == (version, None)
