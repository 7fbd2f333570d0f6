"""The card of an llm that was not trained on our prompts, made from the taxonomy in force. Called by workers.

Its prompts begin with every field's labels, in the same words for every ticket. Pure.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from models.llm.card import Card
from models.llm.codes import LEVELS, for_vocabulary
from models.llm.text import neutralise
from models.taxonomy import Label, Taxonomy, TaxonomyField

BUDGET = 768
"""Tokens of a ticket that are read."""
EXAMPLES, EXAMPLE_CHARS, SHORT = 2, 80, 30
"""So many examples of each label, cut to so many characters, in fields of at most so many labels."""

Codes = Mapping[str, Mapping[str, str]]


def card(
    name: str, path: Path, digest: str, family: str, taxonomy: Taxonomy, known: Callable[[str], bool], shows: int | None
) -> Card:
    """What the llm is asked with; `known` and `shows` as codes.for_vocabulary takes them. Raises ConfigError."""
    fields = _fields(taxonomy)
    codes = for_vocabulary({f: [label.id for label in one.labels] for f, one in fields.items()}, known, shows)
    return Card(
        name=name,
        path=path,
        digest=digest,
        family=family,
        prompt_version=f"instruct-{family}-1",
        codes=codes,
        calibration={},
        demo=False,
        header=header(taxonomy, codes),
        budget=BUDGET,
    )


def header(taxonomy: Taxonomy, codes: Codes) -> str:
    """Every field with its labels, as the prompt shows them."""
    return "\n\n".join("\n".join(_lines(name, field, codes[name])) for name, field in _fields(taxonomy).items())


def _fields(taxonomy: Taxonomy) -> dict[str, TaxonomyField]:
    """`category` first: a stored vocabulary has no order of fields."""
    return dict(sorted(taxonomy.fields_.items(), key=lambda item: (item[0] != "category", item[0])))


def _lines(name: str, field: TaxonomyField, codes: Mapping[str, str]) -> Iterator[str]:
    title = f" ({_plain(field.title)})" if field.title else ""
    yield f"Field {_plain(name)}{title}:"
    examples = EXAMPLES if len(field.labels) <= SHORT else 0
    groups = dict.fromkeys(code.partition(LEVELS)[0] for code in codes.values() if LEVELS in code)
    if not groups:
        yield from (_line(codes[label.id], label, examples) for label in field.labels)
        return
    yield f"Its codes are those of its groups: {', '.join(groups)}."
    for group in groups:
        yield f"Group {group}, with these codes within it:"
        members = ((codes[label.id].partition(LEVELS), label) for label in field.labels)
        yield from (_line(member, label, examples) for (own, _, member), label in members if own == group)


def _line(code: str, label: Label, examples: int) -> str:
    said = _plain(label.title or label.id)
    if label.description:
        said += f": {_plain(label.description)}"
    shown = [f'"{_plain(text)[:EXAMPLE_CHARS]}"' for text in label.examples[:examples]]
    return f"{code} = {said}" + (f" For example: {', '.join(shown)}" if shown else "")


def _plain(text: str) -> str:
    """One line that no tokenizer reads as a control token."""
    return neutralise(" ".join(text.split()))
