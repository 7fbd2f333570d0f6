"""Labelled tickets -> a linear llm, its temperature, and how good it is on tickets it did not see. Called by `train`.

Nothing is chosen or measured on rows that the weights or the temperature saw.
"""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning

from models import metrics
from models.errors import InvalidRequest
from models.evaluation.temperature import FEWEST
from models.llm.linear import regression
from models.llm.linear.crossfit import Fit, cross_fit
from models.llm.linear.features import Vocabulary, Weighting, vocabulary, weighting
from models.llm.linear.groups import groups
from models.llm.linear.model import Head, LinearModel
from models.llm.linear.regression import FOLDS, STRENGTHS, Choice, Tick

LEAST_ROWS = 5  # of each label: one for each fold
NEWEST = 0.2
FITS = FOLDS * len(STRENGTHS) + 2
"""How many fits one field takes at most, in what `tick` counts."""


@dataclass(frozen=True)
class Example:
    """One labelled ticket: its prepared text, field -> label id, and when it came, if that is known (Unix seconds)."""

    text: str
    labels: Mapping[str, str]
    created_at: float | None = None


@dataclass(frozen=True)
class Report:
    """One field. `temperature` is None where there were too few rows to fit one, or it is surely worse than guessing.

    Accuracy, NLL and ECE are of `judged_on` rows that were not trained on: all rows, each by the weights of the other
    folds, or the newest ones by the weights of the older.
    """

    n: int
    labels: Mapping[str, int]
    groups: int
    strength: float
    tried: Mapping[float, float]
    temperature: float | None
    judged_on: str
    n_judged: int
    accuracy: metrics.Proportion
    mean_confidence: float
    nll_before: float
    nll: float
    ece: metrics.Ece


@dataclass(frozen=True)
class Trained:
    """The llm, and a report of each field."""

    model: LinearModel
    reports: Mapping[str, Report]


def train(
    examples: Sequence[Example],
    fields: Mapping[str, Sequence[str]],
    outside: frozenset[str],
    tick: Tick,
    seed: int = 0,
) -> Trained:
    """Trains every field on the examples that have its label; `outside` are labels that mean "none of these".

    Another `seed` draws other folds, and so perhaps another strength and temperature; nothing else is drawn.

    Raises InvalidRequest when a field has one label only, or a label too few rows.
    """
    for name, labels in fields.items():
        _enough(name, labels, Counter(example.labels.get(name) for example in examples))
    terms = vocabulary([example.text for example in examples])
    counts = terms.counts([example.text for example in examples])
    idf = weighting(counts)
    heads, reports = {}, {}
    with warnings.catch_warnings():
        # What the search has reached when it stops is judged by rows it did not see.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, labels in fields.items():
            heads[name], reports[name] = _field(
                examples, name, tuple(labels), outside, (terms, idf, counts), tick, seed
            )
    return Trained(LinearModel(terms, idf, heads), reports)


def _enough(name: str, labels: Sequence[str], n: Mapping[str | None, int]) -> None:
    if len(labels) < 2 or sum(n.get(label, 0) > 0 for label in labels) < 2:
        raise InvalidRequest(f"All tickets have the same label in the field {name}: there is nothing to tell apart.")
    few = [f"{label} ({n.get(label, 0)})" for label in labels if n.get(label, 0) < LEAST_ROWS]
    if few:
        raise InvalidRequest(
            f"Each label needs at least {LEAST_ROWS} tickets, and these of field {name} have fewer: "
            f"{', '.join(few[:10])}. Label more tickets, or take the label out of the taxonomy."
        )


def _field(
    examples: Sequence[Example],
    name: str,
    labels: tuple[str, ...],
    outside: frozenset[str],
    features: tuple[Vocabulary, Weighting, Sequence[csr_matrix]],
    tick: Tick,
    seed: int,
) -> tuple[Head, Report]:
    _, idf, counts = features
    kept = np.array([at for at, example in enumerate(examples) if name in example.labels])
    own = [count[kept] for count in counts]
    right = np.array([labels.index(examples[at].labels[name]) for at in kept])
    alike = groups(weighting(own[:1]).rows(own[:1]))
    if alike.max() + 1 < FOLDS:
        raise InvalidRequest(
            f"The tickets of field {name} are nearly all the same text: there is nothing to learn from."
        )
    choice = regression.choose(own, right, alike, tick, seed)
    judged = _judged(choice, own, right, [examples[at].created_at for at in kept])
    tick(1)
    weights = regression.fit(idf.rows(own), right, choice.strength)
    tick(1)
    own_outside = tuple(label for label in labels if label in outside)
    head = Head(labels, own_outside, weights.matrix.astype(np.float32), weights.bias.astype(np.float32))
    sizes = dict(zip(labels, np.bincount(right, minlength=len(labels)).tolist(), strict=True))
    return head, _report(judged, choice, sizes, int(alike.max()) + 1)


@dataclass(frozen=True)
class _Judged:
    """Rows that were not trained on: the fit on them, what is right, and what they are."""

    fit: Fit
    right: np.ndarray
    what: str


def _judged(choice: Choice, counts: Sequence[csr_matrix], right: np.ndarray, times: Sequence[float | None]) -> _Judged:
    """The newest tickets where all have a time, since they are most like those to come; else all, by the folds."""
    newest = _newest(times)
    if newest is None:
        return _Judged(choice.fit, right, f"each fifth of the tickets by the weights of the others, {FOLDS} times")
    logits = regression.unseen(counts, right, ~newest, choice.strength)
    parts = choice.folds[newest]
    fit = cross_fit(logits, right[newest], parts)
    return _Judged(fit, right[newest], "the newest fifth of the tickets by the weights of the older")


def _newest(times: Sequence[float | None]) -> np.ndarray | None:
    known = np.array([np.nan if time is None else time for time in times])
    if np.isnan(known).any():
        return None
    newest = known > np.quantile(known, 1 - NEWEST)
    return newest if newest.sum() >= FEWEST else None


def _report(judged: _Judged, choice: Choice, sizes: Mapping[str, int], groups_: int) -> Report:
    scaled, n = judged.fit.scaled, len(judged.right)
    confidence, hits = np.exp(scaled.max(axis=1)), scaled.argmax(axis=1) == judged.right
    ece = metrics.ece(confidence.tolist(), hits.tolist(), rounds=200)
    assert ece is not None  # noqa: S101 (there is at least one row)
    accuracy = metrics.proportion(int(hits.sum()), n)
    return Report(
        n=sum(sizes.values()),
        labels=sizes,
        groups=groups_,
        strength=choice.strength,
        tried=choice.tried,
        temperature=judged.fit.temperature if n >= FEWEST and (accuracy.high or 0.0) >= 1 / len(sizes) else None,
        judged_on=judged.what,
        n_judged=n,
        accuracy=accuracy,
        mean_confidence=float(confidence.mean()),
        nll_before=judged.fit.before,
        nll=judged.fit.after,
        ece=ece,
    )
