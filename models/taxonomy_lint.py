"""What is weak in a label vocabulary, and what to do about it. Called by `triage taxonomy lint`. Pure.

Needs scikit-learn, 100 MB: imported where a command asks for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from sklearn.feature_extraction.text import TfidfVectorizer

from models.taxonomy import Label, Taxonomy, TaxonomyField

ALIKE = 0.6  # above it, pairs of real vocabularies differ in a word or two: "verify my identity", "why verify identity"
PAIRS_SHOWN = 5
FEW_EXAMPLES = 3
MANY_LABELS = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One weakness: how bad, where, what it is, and what to do."""

    level: Literal["error", "warning"]
    place: str
    what: str
    do: str


def lint(taxonomy: Taxonomy, codes: Mapping[str, Mapping[str, Mapping[str, str]]]) -> list[Finding]:
    """All findings, errors first. `codes` is llm -> field -> label -> code of the llms that answer with codes."""
    found = [finding for name, field in taxonomy.fields_.items() for finding in _field(name, field)]
    found += [finding for llm, known in codes.items() for finding in _codes(taxonomy, llm, known)]
    return sorted(found, key=lambda finding: finding.level)


def _field(name: str, field: TaxonomyField) -> Iterator[Finding]:
    yield from _described(name, field)
    yield from _exemplified(name, field)
    for a, b, score in closest(field):
        if score >= ALIKE:
            what = f"{a} and {b} read alike ({score:.2f} of 1)"
            yield Finding("warning", name, what, "say in their descriptions what tells them apart, or make them one")
    if len(field.labels) > MANY_LABELS:
        what = f"{len(field.labels)} labels are many for an llm that was not trained on them"
        yield Finding("warning", name, what, "train an llm on labelled tickets, or ask for a coarser field first")


def _described(name: str, field: TaxonomyField) -> Iterator[Finding]:
    bare = [label.id for label in field.labels if not label.description]
    if bare:
        yield Finding("warning", name, f"no description: {_some(bare)}", "say in one sentence what belongs there")


def _exemplified(name: str, field: TaxonomyField) -> Iterator[Finding]:
    few = [label.id for label in field.labels if len(label.examples) < FEW_EXAMPLES]
    if few:
        what = f"fewer than {FEW_EXAMPLES} examples: {_some(few)}"
        yield Finding("warning", name, what, "add real tickets as examples, or draft them with triage taxonomy init")


def _codes(taxonomy: Taxonomy, llm: str, known: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    for name, field in taxonomy.fields_.items():
        missing = [label.id for label in field.labels if label.id not in known.get(name, {})]
        if missing:
            what = f"the llm {llm} has no code for {_some(missing)}"
            yield Finding("error", name, what, "train it on them, use another llm, or take them out")


def closest(field: TaxonomyField, most: int = PAIRS_SHOWN) -> list[tuple[str, str, float]]:
    """The label pairs whose words are most alike: cosine of TF-IDF over words, 0 to 1."""
    weights = TfidfVectorizer(sublinear_tf=True).fit_transform([_words(o) for o in field.labels])
    alike = (weights @ weights.T).toarray()
    ids = [label.id for label in field.labels]
    pairs = [(ids[i], ids[j], float(alike[i, j])) for i in range(len(ids)) for j in range(i)]
    return sorted(pairs, key=lambda pair: -pair[2])[:most]


def _words(label: Label) -> str:
    return " ".join((label.id.replace("_", " ").replace("-", " "), label.title, label.description, *label.examples))


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
