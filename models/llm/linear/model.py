"""A trained linear llm in memory: prepared texts -> logits and log-probabilities of each field's labels, and the scope.

Called by the engine, by training and by what saves and loads it. Safe for threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from models.llm.linear.features import Vocabulary, Weighting


@dataclass(frozen=True)
class Head:
    """One field: `labels`, which of them mean "none of these" (`outside`), and the weights of every term."""

    labels: tuple[str, ...]
    outside: tuple[str, ...]
    matrix: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Said:
    """Of several texts and one field: `logprobs` are [texts, labels] at temperature 1.

    `scope` is the larger the surer it is that some label fits. It is no probability, and no temperature touches it.
    """

    labels: tuple[str, ...]
    logprobs: np.ndarray
    scope: np.ndarray


@dataclass(frozen=True)
class LinearModel:
    """Terms and how much they count, shared by all fields, and a head for each."""

    vocabulary: Vocabulary
    weighting: Weighting
    heads: Mapping[str, Head]

    def rows(self, texts: Sequence[str]) -> csr_matrix:
        """The features of prepared texts, for any of the fields."""
        return self.weighting.rows(self.vocabulary.counts(texts))

    def say(self, rows: csr_matrix, field: str) -> Said:
        """What the llm says of these rows in one field; KeyError for a field it was not trained on."""
        head = self.heads[field]
        logits = np.asarray(rows @ head.matrix + head.bias, dtype=np.float64)
        return Said(head.labels, log_softmax(logits), scope(logits, head.labels, head.outside))


def scope(logits: np.ndarray, labels: Sequence[str], outside: Sequence[str]) -> np.ndarray:
    """The largest logit of a label that names something, less that of "none of these" where training had such rows."""
    named = np.array([label not in outside for label in labels])
    best = logits[:, named].max(axis=1)
    return np.asarray(best if named.all() else best - logits[:, ~named].max(axis=1))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of the same shape: the exponentials of each row sum to 1."""
    moved = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)))
