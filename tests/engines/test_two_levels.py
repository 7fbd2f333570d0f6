"""The same demo llm asked flat and in two levels, through every engine, against llama.cpp, which lists every code."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from places import Place, place

import models.llm
from models.llm.answer import answer, listed
from models.llm.card import Card, load_card
from models.llm.prompt import render
from workers.engines.base import Engine, Scores
from workers.engines.llamacpp import LlamaCpp
from workers.scoring import score

GGUF = Path(models.llm.__file__).parent / "demo" / "primary.gguf"
DEMO = load_card(GGUF)
INTENTS = DEMO.codes["intent"]
LETTERS = "ABCDEFGHIJ"
# All 77 intents in groups of ten. The demo llm knows these letters as the codes of categories, so each question puts
# its mass on them; what they stand for is of no matter to how they are scored.
TWO_LEVELS = {label: f"{LETTERS[at // 10]}/{LETTERS[at % 10]}" for at, label in enumerate(INTENTS)}
CARDS = {
    "flat": replace(DEMO, codes={"intent": INTENTS}),
    "two levels": replace(DEMO, codes={"category": TWO_LEVELS}),
}
TEXTS = ["where is my new card?", "i was charged twice for one payment", "how do i top up by bank transfer"]
NEAR = 1e-3


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    engine = LlamaCpp(tmp_path_factory.mktemp("exact"), parallel=2)
    engine.load(DEMO)
    yield engine
    engine.close()


def truth(engine: LlamaCpp, kind: str, text: str) -> Mapping[str, float]:
    """label -> raw probability by llama.cpp. Of two levels: every group and every member, asked and multiplied here."""
    if kind == "flat":
        said = engine.score(DEMO.name, render(text, "intent", DEMO.prompt_version), list(INTENTS.values()))
        return {label: math.exp(said.logprobs[code]) for label, code in INTENTS.items()}
    said = engine.score(DEMO.name, render(text, "category", DEMO.prompt_version), list(LETTERS))
    p = {code: math.exp(value) for code, value in said.logprobs.items()}
    pairs = {label: code.split("/") for label, code in TWO_LEVELS.items()}
    members = {group: [member for own, member in pairs.values() if own == group] for group, _ in pairs.values()}
    within = {group: math.fsum(p[member] for member in own) for group, own in members.items()}
    understood = math.fsum(p[group] * within[group] for group in members) / math.fsum(p[group] for group in members)
    return {label: p[group] * p[member] / within[group] * understood for label, (group, member) in pairs.items()}


@pytest.fixture(scope="module", params=["llamacpp", "ollama-0.24.0", "ollama-0.32.15", "openai", "ollama-real"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(request.param, tmp_path_factory.mktemp("engine")) as found:
        yield found


@pytest.fixture(scope="module", params=CARDS)
def asked(request: pytest.FixtureRequest, home: Place) -> Iterator[tuple[str, Engine, Card]]:
    engine = home.engine()
    card = engine.load(home.put(CARDS[request.param], GGUF))
    yield request.param, engine, card
    engine.close()


def said(engine: Engine, card: Card, text: str) -> tuple[Scores, Mapping[str, str]]:
    ((field, codes),) = card.codes.items()
    return score(engine, card, card.name, text, field, list(codes.values())), codes


@pytest.mark.parametrize("text", TEXTS)
def test_every_way_gives_the_numbers_of_llamacpp(asked: tuple[str, Engine, Card], exact: LlamaCpp, text: str) -> None:
    kind, engine, card = asked
    scores, codes = said(engine, card, text)
    true, known = truth(exact, kind, text), listed(scores.logprobs, codes.values())
    here = {label: math.exp(known[code]) for label, code in codes.items() if code in known}
    assert here == pytest.approx({label: true[label] for label in here}, abs=NEAR)
    found = answer(scores.logprobs, codes, None, scores.bounds)
    shares = {label: p / math.fsum(true.values()) for label, p in true.items()}
    assert found.label == max(true, key=true.__getitem__)
    if kind == "two levels" or scores.complete:
        assert found.scores == pytest.approx(shares, abs=NEAR)
    else:
        bounds = {label: math.exp(scores.bounds[code]) for label, code in codes.items() if code not in known}
        assert bounds
        assert all(true[label] <= bound + NEAR for label, bound in bounds.items())
        assert found.confidence is not None
        assert found.confidence <= shares[found.label] + 1e-6, "what is not known makes nothing surer"
