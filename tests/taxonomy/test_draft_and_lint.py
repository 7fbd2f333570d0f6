"""A vocabulary drafted from labelled tickets, and what the lint says of one."""

import json

import pytest

from models import taxonomy
from models.errors import ConfigError, InvalidRequest
from models.taxonomy import MOST_LABELS, Taxonomy
from models.taxonomy_draft import draft
from models.taxonomy_lint import Asked, Context, closest, lint

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


def test_texts_without_a_word_are_examples_in_their_order():
    found = draft([(text, {"category": text.upper()}) for text in "abb"]).fields_["category"]
    assert [(label.id, label.examples) for label in found.labels] == [("B", ("b",)), ("A", ("a",))]


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
    assert any("read alike" in finding.what for finding in lint(found))


def test_each_weakness_has_a_finding():
    found = field({"id": "a", "description": "Apples", "examples": ["x", "y", "z"]}, {"id": "b"})
    said = {(one.level, one.what) for one in lint(found, [Asked("tiny", {"category": {"a": "A"}})])}
    assert said == {
        ("error", "the llm tiny has no code for b"),
        ("warning", "no description: b"),
        ("warning", "fewer than 3 examples: b"),
    }
    assert all(one.do for one in lint(found))


def described(n):
    return field(*({"id": f"l{i}", "description": f"words{i}", "examples": ["x", "y", "z"]} for i in range(n)))


@pytest.mark.parametrize(
    ("n", "most", "said"),
    [
        (60, 256, []),
        (61, 256, [("warning", "61 labels are many for the llm stock, which was not trained on them")]),
        (
            257,
            256,
            [("error", "257 labels, and the llm stock can have codes for 256: its engine lists 20 tokens at most")],
        ),
        (257, None, [("warning", "257 labels are many for the llm stock, which was not trained on them")]),
    ],
)
def test_labels_that_are_too_many_for_an_llm_that_was_not_trained_on_them(n, most, said):
    found = lint(described(n), [Asked("stock", zero_shot=True, most=most)])
    assert [(one.level, one.what) for one in found] == said
    assert all("linear" in one.do for one in found)


def test_a_trained_llm_may_have_as_many_labels_as_it_was_trained_on():
    codes = {"category": {f"l{i}": str(i) for i in range(300)}}
    assert lint(described(300), [Asked("tuned", codes)]) == []


def test_a_label_that_is_called_like_another_one_s_code():
    found = field(
        *({"id": i, "title": t, "description": i * 9, "examples": ["x", "y", "z"]} for i, t in (("B", "B"), ("c", "A")))
    )
    stock = Asked("stock", {"category": {"B": "A", "c": "B"}}, zero_shot=True)
    assert [one.what for one in lint(found, [stock])] == [
        "B is called like the code B that the llm stock has for c",
        "c is called like the code A that the llm stock has for B",
    ]
    assert lint(found, [Asked("tuned", {"category": {"B": "A", "c": "B"}})]) == []


def test_an_llm_without_usable_codes_is_an_error():
    (one,) = lint(
        described(2), [Asked("tiny", broken="The card of tiny is broken: field 'x' needs a code of its own.")]
    )
    assert (one.level, one.place) == ("error", "llms.tiny")
    assert one.what.endswith("needs a code of its own")


@pytest.mark.parametrize(
    ("given", "level", "words"),
    [
        (None, "note", "label lists of about 1,500 tokens, a ticket and the question need a context of 3,072 tokens"),
        (2048, "error", "need a context of 3,072 tokens, and it has 2,048"),
    ],
)
def test_a_context_that_is_too_short_or_not_known(given, level, words):
    found = lint(described(2), [Asked("stock", zero_shot=True, context=Context(1500, 3072, 4, given, 8192, 1.5, 9.7))])
    one = next(one for one in found if one.place == "llms.stock")
    assert one.level == level
    assert words in one.what
    assert "num_ctx 3072" in one.do


def test_a_context_that_is_longer_than_the_llm_was_trained_for():
    found = lint(described(2), [Asked("stock", zero_shot=True, context=Context(9000, 10240, 4, 10240, 8192, 1.5, 9.7))])
    assert found[0].level == "error"
    assert "need a context of 10,240 tokens, and it was trained for 8,192" in found[0].what


@pytest.mark.parametrize(
    ("vram", "level", "words"),
    [
        (None, "note", "19.4 GiB in all, of a GPU of unknown size"),
        (24.0, "note", "19.4 GiB in all, of 24 GiB"),
        (20.0, "warning", "19.4 GiB in all, more than 95% of 20 GiB"),
    ],
)
def test_what_all_llms_together_take_of_the_gpu(vram, level, words):
    context = Context(1500, 3072, 4, 3072, None, 1.5, 9.7)
    found = lint(described(2), [Asked(name, zero_shot=True, context=context) for name in ("a", "b")], vram)
    (one,) = found
    assert (one.level, one.place) == (level, "llms")
    assert (
        one.what == f"memory: a 9.7 GiB (1.50 of it for 4 slots of 3,072 tokens), b 9.7 GiB (1.50 of it for "
        f"4 slots of 3,072 tokens), {words}"
    )


def test_an_llm_of_unknown_shape_is_a_note():
    (one,) = lint(described(2), [Asked("stock", zero_shot=True, context=Context(10, 1024, 4, 4096))], 24.0)
    assert (one.level, one.what) == ("note", "nobody knows what 4 slots of 4,096 tokens take of the GPU")


@pytest.mark.parametrize("n", [2, 20, 77, 151, MOST_LABELS])
def test_these_sizes_are_a_vocabulary(n):
    assert len(field(*({"id": f"l{i}"} for i in range(n))).fields_["category"].labels) == n


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "fields: {category: {labels: [{id: a}]}}",
            "fields.category.labels: it must have at least 2 items, and has 1.",
        ),
        (
            "fields: {category: {labels: [" + ", ".join(f"{{id: l{n}}}" for n in range(5000)) + "]}}",
            "fields.category.labels: it must have at most 1000 items, and has 5000.",
        ),
        ("fields: {category: {labels: [{id: a}, {id: b, colour: red}]}}", "colour: unknown key"),
        ("fields: {category: {labels: [{id: a}, {id: a}]}}", "fields.category: label ids given twice: a."),
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
