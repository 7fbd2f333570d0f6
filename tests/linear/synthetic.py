"""Tickets made of a few words for each of three queues: a linear llm learns them in a tenth of a second."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from models.llm.linear.features import vocabulary, weighting
from models.llm.linear.model import Head, LinearModel
from models.llm.linear.regression import fit
from models.llm.linear.training import Example, Trained, train

WORDS = {
    "cards": ["card", "arrived", "pin", "blocked", "plastic", "contactless"],
    "refunds": ["refund", "money", "back", "return", "seller", "merchant"],
    "other": ["weather", "song", "joke", "recipe", "football", "holiday"],
}
COMMON = ["please", "my", "the", "is", "when", "help", "today", "why"]
FIELDS: Mapping[str, Sequence[str]] = {"category": list(WORDS)}
ORIGIN = {"data": "tickets.jsonl", "data_sha256": "0" * 64}
TAXONOMY = "fields: {category: {labels: [{id: cards}, {id: refunds, title: Money back}, {id: other}]}}\n"


def tickets(n: int = 240, labels: Sequence[str] = tuple(WORDS), seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of a ticket file. A tenth of them speak with the words of some queue, so that nobody can be sure."""
    coin = random.Random(seed)
    for number in range(n):
        label = labels[number % len(labels)]
        spoken = coin.choice(labels) if coin.random() < 0.1 else label
        said = coin.choices(WORDS[spoken], k=3) + coin.choices(COMMON, k=3)
        coin.shuffle(said)
        yield {"id": str(number), "body": " ".join(said), "label": label}


def examples(n: int = 240, labels: Sequence[str] = tuple(WORDS), seed: int = 0) -> list[Example]:
    return [Example(row["body"], {"category": row["label"]}) for row in tickets(n, labels, seed)]


def named(fields: Mapping[str, Iterable[str]]) -> LinearModel:
    """An llm that knows each label by its own name; nothing is measured, so it is quick."""
    rows = [(name.replace("_", " "), field, at) for field, names in fields.items() for at, name in enumerate(names)] * 2
    terms = vocabulary([text for text, _, _ in rows])
    idf = weighting(terms.counts([text for text, _, _ in rows]))
    heads = {}
    for field, names in fields.items():
        own = [(text, at) for text, of, at in rows if of == field]
        weights = fit(idf.rows(terms.counts([text for text, _ in own])), np.array([at for _, at in own]), 32.0)
        heads[field] = Head(tuple(names), (), weights.matrix, weights.bias)
    return LinearModel(terms, idf, heads)


def teach(rows: Sequence[Example], fields: Mapping[str, Sequence[str]] = FIELDS) -> Trained:
    return train(rows, fields, frozenset({"other"}), lambda done: None)
