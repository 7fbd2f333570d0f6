"""Thousands of tickets at once through one linear llm, on all cores. Called by `classify`.

Decides what asking for one ticket after the other decides, without an object for every number on the way.
Needs numpy: imported where the command asks for it. Its processes get the loaded llm, so they need nothing else.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from models.llm.answer import Answer
from models.llm.linear.model import LinearModel, log_softmax
from models.llm.text import prepare
from models.taxonomy import Taxonomy, TaxonomyField
from service.cli.classify.answers import Shown, shown
from service.config import Arm
from workers.cascade import EMPTY, SHOWN, Decision, decide
from workers.engines.linear import Linear

if TYPE_CHECKING:
    from workers.llms import Llms

AT_ONCE = 250
FEW = 2_000_000  # characters; for fewer of them starting processes takes longer than they save

Ticket = tuple[str, str]  # subject and body


@dataclass(frozen=True)
class Batch:
    """A linear llm that decides alone, over exactly the labels of the taxonomy; `temperatures` are by field."""

    model: LinearModel
    temperatures: dict[str, float]
    arm: Arm
    taxonomy: Taxonomy

    def decide(self, tickets: Sequence[Ticket]) -> list[Shown]:
        """Every field of every ticket; nothing left of a text is no label."""
        texts = [prepare(subject, body).text for subject, body in tickets]
        rows = self.model.rows(texts)
        by_field = {name: self._field(rows, name, field) for name, field in self.taxonomy.fields_.items()}
        return [
            shown({name: found[at] if text else EMPTY for name, found in by_field.items()})
            for at, text in enumerate(texts)
        ]

    def _field(self, rows: csr_matrix, name: str, field: TaxonomyField) -> list[Decision]:
        said = self.model.say(rows, name)
        answers = _answers(said.labels, said.logprobs, self.temperatures.get(name))
        return [decide(answer, None, self.arm, field) for answer in answers]


def batch(llms: "Llms", arm: Arm, taxonomy: Taxonomy) -> Batch | None:
    """None where it is not one linear llm alone, or where its labels are not those of the taxonomy."""
    llm = llms.all[arm.primary]
    if len(arm.llms) > 1 or llm.card is None or not isinstance(llm.engine, Linear):
        return None
    for name, field in taxonomy.fields_.items():
        if {label.id for label in field.labels} != llm.card.codes.get(name, {}).keys():
            return None
    fits = llm.card.calibration.items()
    fitted = {name: fit.temperature for name, fit in fits if fit.temperature is not None}
    return Batch(llm.engine.model(llm.name), fitted, arm, taxonomy)


def in_order(batch: Batch, tickets: Sequence[Ticket]) -> Iterator[Shown]:
    """The decisions of all tickets, by one process for each core where that is worth it."""
    parts = [tickets[at : at + AT_ONCE] for at in range(0, len(tickets), AT_ONCE)]
    cores = len(os.sched_getaffinity(0))
    if sum(len(subject) + len(body) for subject, body in tickets) < FEW or cores == 1:
        for part in parts:
            yield from batch.decide(part)
        return
    with _processes(cores, batch) as pool:
        for decided in pool.map(_decide, parts):
            yield from decided


@contextmanager
def _processes(cores: int, batch: Batch) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes: this one has threads, and a fork of it could find their locks held."""
    pool = ProcessPoolExecutor(cores, get_context("spawn"), initializer=_start, initargs=(batch,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # after a Ctrl-C nobody wants the rest


_own: list[Batch] = []
"""The llm of such a process."""


def _start(batch: Batch) -> None:
    _own.append(batch)


def _decide(tickets: Sequence[Ticket]) -> list[Shown]:
    return _own[0].decide(tickets)


def _answers(labels: Sequence[str], logprobs: np.ndarray, temperature: float | None) -> Iterator[Answer]:
    """What models.llm.answer makes of each row, with the scores of the best labels only: no more are shown."""
    scaled = logprobs if temperature is None else log_softmax(logprobs / temperature)
    scores = np.exp(scaled)
    best = np.argsort(-scores, axis=1, kind="stable")[:, : SHOWN + 1]
    ranked = np.take_along_axis(scores, best, axis=1)
    raw = np.exp(np.take_along_axis(logprobs, best[:, :1], axis=1))
    entropy = -(scores * scaled).sum(axis=1)
    columns: Any = zip(best.tolist(), ranked.tolist(), raw[:, 0].tolist(), entropy.tolist(), strict=True)
    for places, top, raw_confidence, spread in columns:
        yield Answer(
            label=labels[places[0]],
            confidence=top[0],
            raw_confidence=raw_confidence,
            label_mass=1.0,
            margin=top[0] - top[1],
            entropy=spread,
            scores={labels[place]: score for place, score in zip(places, top, strict=True)},
            complete=True,
            calibrated=temperature is not None,
        )
