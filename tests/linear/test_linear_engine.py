"""The linear engine beyond the contract of all engines: fields, labels, scope, several tickets at once."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import ConfigError, EngineDown, TicketRejected
from models.llm.card import Card, load_card
from models.llm.prompt import render
from workers.engines.linear import Linear

LABELS = ["cards", "refunds", "other"]
TEXTS = ["my card is blocked", "money back", "a joke about football", ""]


@pytest.fixture
def card(folder: Path) -> Card:
    return load_card(folder)


@pytest.fixture
def engine(card: Card) -> Linear:
    engine = Linear()
    assert engine.load(card) == card
    return engine


def prompt(text: str, field: str = "category") -> str:
    return render(text, field, "text-1")


def test_several_at_once_are_the_same_as_one_by_one(engine: Linear) -> None:
    many = engine.score_many("linear", [prompt(text) for text in TEXTS], LABELS)
    for text, found in zip(TEXTS, many, strict=True):
        alone = engine.score("linear", prompt(text), LABELS)
        assert found.logprobs == pytest.approx(alone.logprobs, abs=1e-6)
        assert found.scope == pytest.approx(alone.scope, abs=1e-5)
        assert found.complete


def test_only_the_time_of_the_call_is_known(engine: Linear) -> None:
    timings = engine.score("linear", prompt("card"), LABELS).timings
    assert timings.call_ms > 0
    assert [timings.slot_ms, timings.load_ms, timings.prefill_ms, timings.prompt_tokens] == [None] * 4


def test_a_field_that_it_does_not_know_has_no_scores(engine: Linear) -> None:
    scores = engine.score("linear", prompt("card", "intent"), LABELS)
    assert (scores.logprobs, scores.complete, scores.scope) == ({}, False, None)


def test_two_fields_at_once_are_refused(engine: Linear) -> None:
    with pytest.raises(TicketRejected, match="several fields"):
        engine.score_many("linear", [prompt("card"), prompt("card", "intent")], LABELS)


def test_a_card_with_other_labels_is_refused(card: Card) -> None:
    other = replace(card, codes={"category": {"cards": "cards", "loans": "loans"}})
    with pytest.raises(ConfigError, match="does not know the labels that its card names for the field category"):
        Linear().load(other)


def test_after_closing_it_is_down_until_loaded_again(engine: Linear, card: Card) -> None:
    engine.close()
    with pytest.raises(EngineDown):
        engine.score("linear", prompt("card"), LABELS)
    engine.load(card)
    assert engine.score("linear", prompt("card"), LABELS).complete
