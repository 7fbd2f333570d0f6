"""One llm of this worker: its engine, its card, whether it is loaded, what it says of a ticket. Called by `llms`."""

import dataclasses
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from models.errors import ConfigError, EngineDown, PromptTooLong, TriageError
from models.llm import budget, calibration
from models.llm.answer import Answer, answer, chosen
from models.llm.calibration import Calibration
from models.llm.card import Card, load_card
from models.llm.prices import Price
from models.llm.text import Prepared
from models.taxonomy import Taxonomy, TaxonomyField
from workers.backoff import Backoff
from workers.calibrations import counting
from workers.engines.base import Engine, Scores
from workers.figures import Figures
from workers.opinion import Opinion
from workers.pins import pin_of
from workers.question import Question
from workers.scoring import score
from workers.spend import Spend
from workers.suspicion import Suspicion
from workers.untrained import Untrained

log = structlog.get_logger()


@dataclass(slots=True)
class Llm:
    """One llm of triage.yaml. It is asked only when loaded; until then `error` says what it lacks.

    `wanted` is the card as written, or as made for an llm that is `untrained` and the `taxonomy`, `served` what the
    engine makes of it, `card` that with the calibrations that count; `refused` says why the others do not.
    """

    name: str
    path: Path
    engine: Engine
    figures: Figures
    price: Price | None = None
    spend: Spend | None = None
    untrained: Untrained | None = None
    taxonomy: Taxonomy | None = None
    wanted: Card | None = None
    served: Card | None = None
    card: Card | None = None
    refused: dict[str, str] = field(default_factory=dict)
    error: str | None = "not loaded yet"
    backoff: Backoff = field(default_factory=Backoff)
    silence: str | None = None
    telling: threading.Lock = field(default_factory=threading.Lock)
    suspicion: Suspicion = field(default_factory=Suspicion)
    questions: dict[str, Question] = field(default_factory=dict)

    def silent(self, error: TriageError | None) -> None:
        """Logs that the llm does not answer, and that it does again; once for each change, not for each ticket."""
        why = None if error is None else error.message
        with self.telling:
            changed, self.silence = why != self.silence, why
        if changed:
            log.warning("llm.silent", llm=self.name, error=why) if why else log.info("llm.answers_again", llm=self.name)

    def ask(self, text: Prepared, name: str, labels: TaxonomyField) -> Opinion:
        """Scores what fits of a whole text; raises EngineDown while not loaded, and what the engine raises.

        What refuses ticket after ticket, or brings out a mistake of ours with each, counts as not loaded, until it has
        answered a known question.
        """
        if self.card is None or self.error is not None:
            raise EngineDown(f"The llm {self.name} is not loaded: {self.error}")
        if (why := self._spent()) is not None:
            raise EngineDown(why)
        question = self._question(self.card, name, labels)
        try:
            with self.figures.asking(self.name):
                read, scores = self._scored(question, text, name)
                cost = self._cost(scores.timings.prompt_tokens, scores.timings.completion_tokens)
                day = self.spend.add(cost) if self.spend is not None else 0
                found = self._found(question, scores)
        except Exception as error:
            if (why := self.suspicion.refused(text.text, error)) is None:
                raise
            self.error = self.error or why
            raise EngineDown(f"The llm {self.name} is not loaded: {why}") from None
        self.suspicion.answered()
        return Opinion(self.name, found, scores.timings, question.pin, scores.scope, cost, self.spend, day, read.cut)

    def _question(self, card: Card, name: str, labels: TaxonomyField) -> Question:
        known = self.questions.get(name)
        if known is not None and known.holds(card, labels, self.engine):
            return known
        codes, fit = self._codes(card, name, labels), _fit(card, name, labels)
        temperature, prior = (fit.temperature, fit.prior) if fit is not None else (None, {})
        made = Question(card, labels, self.engine.version, pin_of(card, self.engine), codes, temperature, prior)
        if self.untrained is None:  # what such a one was told may change beside its card
            self.questions[name] = made
        return made

    def _scored(self, asked: Question, text: Prepared, name: str) -> tuple[Prepared, Scores]:
        """What was read, and its scores; where tokens could only be guessed and were too many, once more with less."""
        card, codes = asked.card, list(asked.codes.values())
        read = budget.fitted(text, card.budget, lambda part: self.engine.count(self.name, part))
        try:
            return read, score(self.engine, card, self.name, read.text, name, codes)
        except PromptTooLong:
            less = budget.surely(text, card.budget)
            if less == read:
                raise
            return less, score(self.engine, card, self.name, less.text, name, codes)

    def _found(self, asked: Question, scores: Scores) -> Answer:
        if scores.chosen is not None:
            return chosen(scores.chosen, asked.codes)
        return answer(scores.logprobs, asked.codes, asked.temperature, scores.bounds, asked.prior)

    def fit(self, name: str, labels: TaxonomyField) -> Calibration | None:
        """The field's calibration that counts; one over other labels says nothing about these."""
        card = self.card
        return _fit(card, name, labels) if card is not None else None

    def calibrated(self, taxonomy: Taxonomy) -> dict[str, dict[str, Any]]:
        """field -> how far its confidence can be believed, and why no further."""
        return {
            name: calibration.shown(self.fit(name, labels), self._uncalibrated(name, labels))
            for name, labels in taxonomy.fields_.items()
        }

    def breaker(self) -> str | None:
        """Why an llm that is loaded is not asked now: its engine has failed, or it has cost enough today."""
        return self.engine.open_breaker(self.name) or self._spent()

    def lacks(self, taxonomy: Taxonomy) -> str | None:
        """Why this llm cannot answer every field; None when it can."""
        try:
            for name, labels in taxonomy.fields_.items():
                if self.card is not None:
                    self._codes(self.card, name, labels)
        except TriageError as error:
            return error.message
        return None

    def behind(self, taxonomy: Taxonomy) -> bool:
        """Whether it is loaded with another taxonomy than this, and will be told this one by the next look."""
        told = self.untrained is None or self.error is not None or self.taxonomy == taxonomy
        return not told and self._spent() is None

    def load(self, taxonomy: Taxonomy | None = None) -> None:
        """Loads and warms it if it is not, or no longer; raises what keeps it from being loaded.

        An untrained llm is told the labels of the `taxonomy` in force; a trained one has those of its card. Where
        loading may cost money, nothing is sent while the limit is reached; what is loaded stays so.
        """
        if (why := self._spent()) is not None:
            if self.error is None:
                return
            raise EngineDown(why)
        taxonomy = self.taxonomy if taxonomy is None else taxonomy
        same = self.untrained is None or taxonomy == self.taxonomy
        if same and self.error is None and self.wanted is not None and self._served(self.wanted) == self.served:
            return
        before = self.served
        self.wanted = self._written(taxonomy)
        self.served = self._served(self.wanted)
        if self.untrained is not None and before is not None and before.digest != self.served.digest:
            self.untrained.forget()
            self.wanted = self._written(taxonomy)
            self.served = self._served(self.wanted)
        self.card, self.refused = counting(self.wanted, self.served, self.engine)
        # Only now: until its card is there it is asked with the labels of the old one.
        self.taxonomy = taxonomy
        if (known := self.suspicion.settle(self.engine, self.card, self.name)) is not None:
            self.billed(known.prompt_tokens, known.completion_tokens)
        self.error = None
        log.info("llm.ready", llm=self.name)

    def _written(self, taxonomy: Taxonomy | None) -> Card:
        if self.untrained is None:
            return dataclasses.replace(load_card(self.path), name=self.name)
        if taxonomy is None:
            raise EngineDown(f"The llm {self.name} waits for a taxonomy: it was trained on none.")
        return self.untrained.card(self.engine, taxonomy)

    def billed(self, prompt_tokens: int | None, completion_tokens: int | None) -> None:
        """A reply while it was loaded. Whether the server counts tokens at all, its answers to tickets show."""
        cost = self._cost(prompt_tokens, completion_tokens)
        if self.spend is not None and cost is not None:
            self.spend.add(cost)

    def _served(self, card: Card) -> Card:
        if (why := self.backoff.waits(card)) is not None:
            raise ConfigError(why)
        try:
            served = self.engine.load(card)
        except ConfigError as error:
            self.backoff.failed(card, error.message)
            raise
        self.backoff = Backoff()
        return served

    def _uncalibrated(self, name: str, labels: TaxonomyField) -> str | None:
        if self.card is not None and name in self.card.calibration and self.fit(name, labels) is None:
            return calibration.refusal(self.name, name, ["other labels"])
        return self.refused.get(name)

    def _spent(self) -> str | None:
        return self.spend.reached() if self.spend is not None else None

    def _cost(self, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
        return self.price.of(prompt_tokens, completion_tokens) if self.price is not None else None

    def _told(self, name: str, labels: TaxonomyField) -> bool:
        """Whether its prompts show the field as it is in force: with other titles they ask something else."""
        return self.taxonomy is not None and self.taxonomy.field(name) == labels

    def _codes(self, card: Card, name: str, labels: TaxonomyField) -> dict[str, str]:
        known = card.codes.get(name, {})
        missing = [label.id for label in labels.labels if label.id not in known]
        if self.untrained is not None and (missing or not self._told(name, labels)):
            raise EngineDown(f"The llm {self.name} has not been told the new labels yet: it will be in a few seconds.")
        if missing:
            raise ConfigError(
                f"The llm {self.name} was not trained on {', '.join(missing[:5])} of field {name}: "
                "change taxonomy.yaml or use another llm."
            )
        return {label.id: known[label.id] for label in labels.labels}


def _fit(card: Card, name: str, labels: TaxonomyField) -> Calibration | None:
    same = {label.id for label in labels.labels} == card.codes.get(name, {}).keys()
    return card.calibration.get(name) if same else None
