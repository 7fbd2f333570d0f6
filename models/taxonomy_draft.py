"""A first label vocabulary from tickets that somebody has labelled already. Called by `triage taxonomy init`. Pure.

Needs scikit-learn, 100 MB: imported where a command asks for it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer

from models.errors import InvalidRequest
from models.taxonomy import Label, Taxonomy, TaxonomyField

EXAMPLES = 3
EXAMPLE_CHARS = 200
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.?-]{0,62}")

Texts = dict[str, list[str]]


def draft(rows: Iterable[tuple[str, Mapping[str, str]]]) -> Taxonomy:
    """The vocabulary of (text, field -> label) rows: labels by how often they occur, each with its most typical texts.

    Raises InvalidRequest where a field has one label only.
    """
    fields: dict[str, Texts] = {}
    for text, labels in rows:
        for field, label in labels.items():
            fields.setdefault(field, defaultdict(list))[label].append(" ".join(text.split()))
    if not fields:
        raise InvalidRequest("No ticket of the file has a label.")
    # The first field is what pages show and experiments compare.
    names = sorted(fields, key=lambda name: name != "category")
    return Taxonomy.model_validate({"fields": {name: _field(name, fields[name]) for name in names}})


def _field(name: str, texts: Texts) -> TaxonomyField:
    if len(texts) < 2:
        raise InvalidRequest(f"All tickets have the same label in the field {name}: there is nothing to tell apart.")
    ordered = sorted(texts, key=lambda label: (-len(texts[label]), label))
    ids = _ids(ordered)
    typical = _typical({label: texts[label] for label in ordered})
    labels = [Label(id=ids[o], title=_title(o), examples=tuple(typical[o])) for o in ordered]
    return TaxonomyField(title=name.capitalize(), labels=tuple(labels))


def _ids(labels: list[str]) -> dict[str, str]:
    """label -> an id of its own: the label itself where it can be one."""
    ids: dict[str, str] = {label: label for label in labels if _ID.fullmatch(label)}
    for label in labels:
        if label not in ids:
            plain = re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_").lower()[:58] or "label"
            free = (f"{plain}_{n}" if n > 1 else plain for n in range(1, len(labels) + 2))
            ids[label] = next(one for one in free if one not in ids.values())
    return ids


def _title(label: str) -> str:
    return label.replace("_", " ").capitalize() if _ID.fullmatch(label) else label


def _typical(texts: Texts) -> dict[str, list[str]]:
    """For each label the texts nearest to the mean of its TF-IDF vectors."""
    vectors = TfidfVectorizer(sublinear_tf=True, max_features=50_000)
    try:
        vectors.fit(text for some in texts.values() for text in some)
    except ValueError:  # no text has a word of two characters: none is more typical than another
        return {label: [text[:EXAMPLE_CHARS] for text in _distinct(some)[:EXAMPLES]] for label, some in texts.items()}
    return {label: _nearest(vectors, some) for label, some in texts.items()}


def _nearest(vectors: Any, texts: list[str]) -> list[str]:
    distinct = _distinct(texts)
    if not distinct:
        return []
    weights = vectors.transform(distinct)
    nearness = weights @ weights.mean(axis=0).T
    best = sorted(range(len(distinct)), key=lambda i: -float(nearness[i, 0]))[:EXAMPLES]
    return [distinct[i][:EXAMPLE_CHARS] for i in best]


def _distinct(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
