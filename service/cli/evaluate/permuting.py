"""The same tickets with the labels in several orders: how much an llm goes by a label's place. Used by evaluate."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from models import metrics
from models.llm.answer import Answer, softmax
from models.taxonomy import Taxonomy
from service.cli.evaluate.asking import Asked, ask
from service.cli.evaluate.measuring import Measured, part
from service.config import Arm
from workers.cascade import LEAST
from workers.llms import Llms

Permuted = dict[str, dict[str, Any]]


def permute(llms: Llms, names: Sequence[str], vocabulary: Taxonomy, over: Measured, orders: int) -> Permuted:
    """llm -> field -> figures, of those that were not trained on their codes; with other codes the rest know nothing.

    No calibration counts here: it belongs to one order. Afterwards each has its own order again.
    """
    return {name: _one(llms, name, vocabulary, over, orders) for name in names if llms.all[name].untrained is not None}


def turned(taxonomy: Taxonomy, order: int, orders: int) -> Taxonomy:
    """The labels of each field from another one on: no label keeps its place and code, and all move equally far.

    A field of fewer labels than orders has some of them twice.
    """
    fields = {}
    for name, field in taxonomy.fields_.items():
        start = len(field.labels) * order // orders
        fields[name] = field.model_copy(update={"labels": field.labels[start:] + field.labels[:start]})
    return taxonomy.model_copy(update={"fields_": fields})


def told(found: Permuted, names: Sequence[str]) -> list[str]:
    """A sentence for each llm and field."""
    trained = [f"{name}: its codes are trained, so they cannot be permuted." for name in names if name not in found]
    return trained + [_told(name, field, one) for name, fields in found.items() for field, one in fields.items()]


def _told(name: str, field: str, one: dict[str, Any]) -> str:
    if not one["n"]:
        return f"{name}, field {field}: no ticket was answered in every order of the labels."
    low, high = min(one["accuracy"]), max(one["accuracy"])
    changed, averaged = one["changed"], one["averaged"]
    said = "" if averaged is None else f"; all orders averaged {averaged['value']:.3f} ({_bounds(averaged)})"
    return (
        f"{name}, field {field}, {one['orders']} orders of the labels: accuracy {low:.3f} to {high:.3f}{said}; "
        f"{changed['value']:.1%} ({_bounds(changed)}) of {changed['n']:,} tickets do not keep their label."
    )


def _bounds(share: dict[str, Any]) -> str:
    return f"{share['low']:.3f}-{share['high']:.3f}"


def _one(llms: Llms, name: str, vocabulary: Taxonomy, over: Measured, orders: int) -> dict[str, Any]:
    llm, asked = llms.all[name], []
    try:
        for order in range(orders):
            other = turned(vocabulary, order, orders)
            llm.load(other)
            assert llm.card is not None  # noqa: S101 (it is loaded)
            llm.card = replace(llm.card, calibration={})
            title = f"Asking {name}, order {order + 1} of {orders}"
            asked.append(ask(llms, Arm(primary=name), part(other, over.rows), over.rows, title))
    finally:
        llm.load(vocabulary)
    return {field: _figures(asked, field, over.taxonomy) for field in over.taxonomy.fields_}


def _figures(asked: Sequence[Asked], field: str, taxonomy: Taxonomy) -> dict[str, Any]:
    labels = {label.id for label in taxonomy.fields_[field].labels}
    rows = [(truth, answers) for truth, answers in _answered(asked, field) if truth in labels]
    hits = [[answers[order].label == truth for truth, answers in rows] for order in range(len(asked))]
    scores = [accuracy for row in hits if (accuracy := metrics.proportion(sum(row), len(row)).value) is not None]
    changed = sum(len({one.label for one in answers}) > 1 for _, answers in rows)
    scored = all(one.scores for _, answers in rows for one in answers)
    right = sum(_together(answers) == truth for truth, answers in rows) if scored else 0
    return {
        "orders": len(asked),
        "n": len(rows),
        "accuracy": scores,
        "spread": max(scores) - min(scores) if scores else None,
        "changed": asdict(metrics.proportion(changed, len(rows))),
        "averaged": asdict(metrics.proportion(right, len(rows))) if scored else None,
    }


def _answered(asked: Sequence[Asked], field: str) -> Iterator[tuple[str, list[Answer]]]:
    """The right label and the answers, of the tickets that got one in each order."""
    for row, outcomes in zip(asked[0].rows, zip(*(one.outcomes for one in asked), strict=True), strict=True):
        said = [one[field].said for one in outcomes if one is not None]
        if field in row.labels and len(said) == len(asked) and all(said):
            yield row.labels[field], [one[0].opinion.answer for one in said]


def _together(answers: Sequence[Answer]) -> str:
    """The likeliest label when log-probabilities are averaged, as the cascade does."""
    logs = {
        label: math.fsum(math.log(max(one.scores.get(label, 0.0), LEAST)) for one in answers) / len(answers)
        for label in answers[0].scores
    }
    return max(softmax(logs).items(), key=lambda pair: pair[1])[0]
