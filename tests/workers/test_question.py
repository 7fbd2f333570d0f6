"""What a worker looks up once for a field is looked up again as soon as anything of it has changed."""

import dataclasses

import pytest
import taxonomies

from models.llm.text import Prepared
from workers.figures import Figures
from workers.llm import Llm

TEXT = Prepared("my card has not arrived yet", cut=False)
LABELS = taxonomies.demo("category").fields_["category"]


class Renamed:
    """An engine that may call itself otherwise."""

    def __init__(self, engine):
        self.engine = engine
        self.version = engine.version

    def __getattr__(self, name):
        return getattr(self.engine, name)


@pytest.fixture
def llm(llms):
    """The demo's primary, to be changed; its engine is everybody's."""
    real = llms.all["primary"]
    return Llm("primary", real.path, Renamed(real.engine), Figures(), card=real.card, error=None)


def ask(llm, labels=LABELS):
    return llm.ask(TEXT, "category", labels)


def test_what_has_not_changed_is_the_same(llm):
    assert ask(llm).pin is ask(llm).pin


def test_another_version_of_the_engine_is_another_pin(llm):
    before = ask(llm).pin
    llm.engine.version = "2"
    assert (before.engine_version, ask(llm).pin.engine_version) == (llm.engine.engine.version, "2")


def test_another_calibration_is_another_confidence(llm):
    before = ask(llm)
    fit = dataclasses.replace(llm.card.calibration["category"], id="other", temperature=5.0)
    llm.card = dataclasses.replace(llm.card, calibration={"category": fit})
    after = ask(llm)
    assert after.pin.calibration_id == "other"
    assert after.answer.confidence < before.answer.confidence
    assert after.answer.raw_confidence == pytest.approx(before.answer.raw_confidence)


def test_fewer_labels_are_other_scores_and_uncalibrated(llm):
    assert ask(llm).answer.calibrated
    fewer = LABELS.model_copy(update={"labels": LABELS.labels[:3]})
    found = ask(llm, fewer).answer
    assert found.scores.keys() == {label.id for label in fewer.labels}
    assert not found.calibrated
