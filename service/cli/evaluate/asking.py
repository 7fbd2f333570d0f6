"""Labelled tickets through llms as they are served, and what was said as columns. Used by evaluate and calibrate.

Needs engines and numpy: imported where a command asks for it.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from models.errors import ConfigError, EngineDown, EngineError
from models.evaluation.answered import OUTSIDE, Answered
from models.llm.calibration import Calibration
from models.taxonomy import Taxonomy
from service.cli.classify.steady import classify
from service.cli.common import notes
from service.cli.evaluate import labelled
from service.cli.evaluate.labelled import Labelled
from service.config import Arm
from service.settings import Loaded
from workers.cascade import LEAST
from workers.classify import FieldOutcome
from workers.llms import Llms


@dataclass(frozen=True)
class Asked:
    """What was said of each row: None where the engine refused it. `seconds` is how long all of them took."""

    rows: list[Labelled]
    outcomes: list[dict[str, FieldOutcome] | None]
    seconds: float

    def columns(self, taxonomy: Taxonomy, name: str, fit: Calibration | None = None) -> Answered:
        """The answers for one field, of the rows that have a label of it; `fit` made an llm's scores."""
        pairs = [(row.labels[name], outcomes[name]) for row, outcomes in self._of(name) if outcomes[name].said]
        labels = tuple(label.id for label in taxonomy.fields_[name].labels)
        if not any(truth in labels for truth, _ in pairs):
            raise ConfigError(f"No ticket with a label of field {name} got an answer.")
        places = {label: at for at, label in enumerate(labels)}
        scores = np.array([_scores(outcome, labels) for _, outcome in pairs])
        heat = np.array([outcome.decision.temperature for _, outcome in pairs])
        scope = _scope(_raw(scores, labels, heat[:, None], fit), labels) + np.log([_mass(one) for _, one in pairs])
        own = [outcome.said[0].opinion.scope if len(outcome.said) == 1 else None for _, outcome in pairs]
        return Answered(
            labels=labels,
            scores=scores,
            truth=np.array([places.get(truth, OUTSIDE) for truth, _ in pairs]),
            scope=scope if None in own else np.array(own),
            automated=np.array([outcome.decision.action == "automate" for _, outcome in pairs]),
            ms=np.array([sum(said.opinion.timings.call_ms for said in outcome.said) for _, outcome in pairs]),
            scored=all(outcome.decision.scores for _, outcome in pairs),
        )

    def logs(self, taxonomy: Taxonomy, name: str) -> np.ndarray:
        """The logarithms of an llm's scores for one field, of all rows that it scored, labelled or not."""
        labels = [label.id for label in taxonomy.fields_[name].labels]
        scored = [one[name] for one in self.outcomes if one is not None and one[name].decision.scores]
        found: np.ndarray = np.log(np.maximum([_scores(outcome, labels) for outcome in scored], LEAST))
        return found.reshape(-1, len(labels))

    def only(self, name: str, wanted: Callable[[FieldOutcome], bool]) -> "Asked":
        """The answered rows whose outcome for one field is wanted."""
        pairs = [(row, found) for row, found in self._of(name) if wanted(found[name])]
        return Asked([row for row, _ in pairs], [found for _, found in pairs], self.seconds)

    def calibrated(self, name: str) -> int:
        """How many decisions of one field count as calibrated."""
        return sum(outcomes[name].decision.calibrated for _, outcomes in self._of(name))

    def temperatures(self, name: str) -> list[float]:
        """Those of a policy's own calibration that were used."""
        return sorted({outcomes[name].decision.temperature for _, outcomes in self._of(name)} - {1.0})

    def unanswered(self, name: str) -> dict[str, int]:
        """Rows without an answer: nothing was left of their text, or the engine refused them."""
        labelled = sum(name in row.labels for row in self.rows)
        answered = self._of(name)
        empty = sum(not outcomes[name].said for _, outcomes in answered)
        return {"empty": empty, "refused": labelled - len(answered)}

    def _of(self, name: str) -> list[tuple[Labelled, dict[str, FieldOutcome]]]:
        pairs = zip(self.rows, self.outcomes, strict=True)
        return [(row, found) for row, found in pairs if name in row.labels and found is not None]


@contextmanager
def opened(loaded: Loaded, names: list[str], taxonomy: Taxonomy) -> Iterator[Llms]:
    """The llms of these names, loaded and told the labels; ConfigError with what each lacks."""
    with tempfile.TemporaryDirectory(prefix="triage-llm-") as sockets:
        llms = Llms(loaded, names, Path(sockets))
        try:
            if not llms.load(taxonomy):
                raise ConfigError("; ".join(f"{one.name}: {one.error}" for one in llms.all.values() if one.error))
            yield llms
        finally:
            llms.close()


def ask(llms: Llms, arm: Arm, taxonomy: Taxonomy, rows: Sequence[Labelled], title: str) -> Asked:
    """Every field of every row, as the service would; the engine's refusal of one row costs that row only."""

    def one(row: Labelled) -> dict[str, FieldOutcome] | None:
        try:
            return classify(arm, llms, taxonomy, row.subject, row.body)
        except EngineDown:
            raise
        except EngineError:
            return None

    started = time.perf_counter()
    pool = ThreadPoolExecutor(llms.parallel)
    try:
        outcomes = list(track(pool.map(one, rows), title, len(rows), console=notes))
    finally:
        pool.shutdown(cancel_futures=True)  # after a Ctrl-C nobody wants the rest
    return Asked(list(rows), outcomes, time.perf_counter() - started)


def _scores(outcome: FieldOutcome, labels: Sequence[str]) -> list[float]:
    """The scores that decided, for every label, also for what the engine did not list."""
    scores = outcome.decision.scores
    if not scores:  # only a label was named
        return [float(label == outcome.decision.label) for label in labels]
    return [scores[label] for label in labels]


def _mass(outcome: FieldOutcome) -> float:
    mass = outcome.said[0].opinion.answer.label_mass
    return max(LEAST, 1.0 if mass is None else mass)


def _raw(scores: np.ndarray, labels: Sequence[str], heat: np.ndarray, fit: Calibration | None) -> np.ndarray:
    """The log-probabilities that the scores were made of, by a policy's own temperatures (`heat`) and an llm's fit."""
    temperature = fit.temperature or 1.0 if fit is not None else 1.0
    prior = [fit.prior.get(label, 0.0) if fit is not None else 0.0 for label in labels]
    raw = heat * temperature * np.log(np.maximum(scores, LEAST)) + np.array(prior)
    raw = raw - raw.max(axis=1, keepdims=True)
    found: np.ndarray = raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))
    return found


def _scope(raw: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """How likely some label fits: the best of the raw log-probabilities of those that name something.

    Kept apart from the confidence, because a temperature that makes that one true makes this one worse.
    """
    naming = [at for at, label in enumerate(labels) if label not in labelled.OUTSIDE]
    best: np.ndarray = raw[:, naming].max(axis=1)
    return best
