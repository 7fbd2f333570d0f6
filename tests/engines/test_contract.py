"""What every engine promises. A new engine joins by adding itself to ENGINES, and its place to `places`.

With TRIAGE_TEST_OLLAMA=URL the same runs against a real Ollama, where it makes and removes models `triage-test-*`.
"""

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from places import LATE, Place, place

import models.llm
from models.errors import ConfigError, EngineDown, TicketRejected
from models.llm.card import Card, load_card
from models.llm.prompt import render
from models.llm.text import prepare
from workers.engines.base import Engine, Scores

DEMO = Path(models.llm.__file__).parent / "demo"
TICKETS = [
    "where is my new card?",
    "i was charged twice for one payment",
    "how do i top up by bank transfer",
    "please change my pin",
    "why was my transfer declined",
    "what is the exchange rate to euros",
    "i want a refund",
    "play some jazz",
] * 3

ENGINES = ["llamacpp", "linear", "openai", "ollama-0.24.0", "ollama-0.32.15", "ollama-real"]
# So many tokens are listed at most, so a long field is scored in part.
LISTED = {"ollama": 20, "openai": 100}


@pytest.fixture(scope="module", params=ENGINES)
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(request.param, tmp_path_factory.mktemp("engine")) as found:
        yield found


@pytest.fixture(scope="module")
def cards(home: Place) -> dict[str, Card]:
    paths = {name: DEMO / f"{name}.gguf" for name in ("primary", "fallback")}
    return {name: home.put(load_card(path), path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def engine(home: Place, cards: dict[str, Card]) -> Iterator[Engine]:
    engine = home.engine()
    for card in cards.values():
        assert engine.load(card).calibration == card.calibration, "the weights are the card's own"
    yield engine
    engine.close()


@pytest.fixture(params=["primary", "fallback"])
def card(request: pytest.FixtureRequest, cards: dict[str, Card]) -> Card:
    return cards[request.param]


@pytest.fixture
def of_tokens(engine: Engine) -> None:
    """For what only a language model can do: the linear engine's softmax is over labels, its texts have no tokens."""
    if engine.kind == "linear":
        pytest.skip("the linear engine has no tokens")


def ask(engine: Engine, card: Card, text: str, field: str = "category") -> Scores:
    return engine.score(card.name, render(text, field, card.prompt_version), list(card.codes[field].values()))


def mass(scores: Scores) -> float:
    return math.fsum(math.exp(value) for value in scores.logprobs.values())


def all_that_can_be(engine: Engine, scores: Scores, codes: Iterable[str]) -> bool:
    """Every code, or, of an engine that lists the likeliest tokens only, none that is likelier than one it gave."""
    wanted = set(codes)
    assert scores.complete == (scores.logprobs.keys() == wanted)
    assert scores.logprobs.keys() <= wanted
    return scores.complete or 0 < len(scores.logprobs) <= LISTED.get(engine.kind, 0)


def largest_difference(one: Scores, other: Scores) -> float:
    """In probability; a code that only one of them has was at the end of its list, so it counts against its last."""
    a, b = ({code: math.exp(value) for code, value in scores.logprobs.items()} for scores in (one, other))
    return max(abs(a.get(code, min(a.values())) - b.get(code, min(b.values()))) for code in a.keys() | b.keys())


@pytest.mark.parametrize("field", ["category", "intent"])
def test_every_code_gets_its_raw_log_probability(engine: Engine, card: Card, field: str) -> None:
    """Not of jazz: `other` is a category only, and an llm asked for the intent may still put its mass there."""
    for text in TICKETS[:7]:
        scores = ask(engine, card, text, field)
        assert all_that_can_be(engine, scores, card.codes[field].values())
        assert 0.5 < mass(scores) <= 1 + 1e-6


@pytest.mark.usefixtures("of_tokens")
def test_codes_of_both_fields_share_one_softmax(engine: Engine, card: Card) -> None:
    codes = [code for labels in card.codes.values() for code in labels.values()]
    scores = engine.score(card.name, render("where is my card", "category", card.prompt_version), codes)
    assert all_that_can_be(engine, scores, codes)
    assert 0.9 < mass(scores) <= 1 + 1e-6
    alone = ask(engine, card, "where is my card")
    assert all(abs(scores.logprobs[code] - value) < 1e-3 for code, value in alone.logprobs.items())


@pytest.mark.usefixtures("of_tokens")
def test_the_mass_is_small_where_the_llm_was_not_asked_for_these_codes(engine: Engine, card: Card) -> None:
    """A softmax over the codes alone would give 1. The demo llms know only codes, so they are asked the other field."""
    codes = list(card.codes["category"].values())
    for text in TICKETS[:8]:
        scores = engine.score(card.name, render(text, "intent", card.prompt_version), codes)
        assert scores.complete or engine.kind in LISTED
        assert mass(scores) < 0.9


def test_scores_do_not_depend_on_what_runs_beside_or_ran_before(engine: Engine, card: Card) -> None:
    one_by_one = [ask(engine, card, text) for text in TICKETS]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(lambda text: ask(engine, card, text), TICKETS))
    assert max(map(largest_difference, one_by_one, at_once)) < 1e-3


@pytest.mark.usefixtures("of_tokens")
def test_timings_add_up(engine: Engine, card: Card) -> None:
    ask(engine, card, "why was my transfer declined yesterday")
    timings = ask(engine, card, "why was my transfer declined yesterday", "intent").timings
    loading = 0.0 if engine.kind == "openai" else timings.load_ms  # nobody tells when such a server loads
    parts = [timings.slot_ms, loading, timings.prefill_ms, timings.decode_ms]
    assert all(part is not None and part >= 0 for part in parts)
    assert sum(part for part in parts if part) == pytest.approx(timings.call_ms)
    assert timings.prompt_tokens is not None
    assert timings.prompt_tokens > 8
    if engine.kind in ("llamacpp", "openai"):
        assert timings.cached_tokens is not None
        assert 8 <= timings.cached_tokens < timings.prompt_tokens, "a second field reuses the prefix"


@pytest.mark.usefixtures("of_tokens")
def test_a_prompt_beyond_the_context_is_the_tickets_fault(engine: Engine, card: Card) -> None:
    with pytest.raises(TicketRejected, match="tokens"):
        ask(engine, card, "qx " * 10_000)
    assert ask(engine, card, "where is my card").logprobs


@pytest.mark.parametrize("unit", ["\u0130", "\U0001f600", "<", "[#", "\u6f22", "word "])
def test_any_prepared_ticket_fits(engine: Engine, card: Card, unit: str) -> None:
    scores = ask(engine, card, prepare("", unit * 60_000).text)
    assert all_that_can_be(engine, scores, card.codes["category"].values())


def test_a_prompt_that_is_no_text_is_the_tickets_fault(engine: Engine, card: Card) -> None:
    with pytest.raises(TicketRejected):
        ask(engine, card, "\ud800")


def test_an_unknown_code_is_absent(engine: Engine, card: Card) -> None:
    known = next(iter(card.codes["category"].values()))
    scores = engine.score(card.name, render("where is my card", "category", card.prompt_version), [known, "nonsense"])
    assert set(scores.logprobs) == {known}
    assert not scores.complete


def test_a_changed_card_is_loaded_anew(engine: Engine, card: Card) -> None:
    fewer = replace(card, codes={"category": card.codes["category"]})
    engine.load(fewer)
    intents, prompt = list(card.codes["intent"].values()), render("x", "intent", card.prompt_version)
    assert engine.score(card.name, prompt, intents).logprobs == {}
    engine.load(card)
    assert all_that_can_be(engine, engine.score(card.name, prompt, intents), intents)


def test_an_llm_that_is_not_loaded_is_down(engine: Engine, card: Card) -> None:
    with pytest.raises(EngineDown, match="'nobody' is not loaded"):
        engine.score("nobody", "x", ["A"])


def test_weights_that_come_later_can_be_loaded_then(home: Place, tmp_path: Path) -> None:
    gguf = DEMO / "primary.gguf"
    engine, late = home.engine(), home.nowhere(load_card(gguf))
    with pytest.raises(EngineDown, match=LATE):
        engine.load(late)
    late = home.put(late, gguf, LATE)
    engine.load(late)
    assert ask(engine, late, "where is my card").logprobs
    engine.close()
    with pytest.raises(EngineDown):
        ask(engine, late, "where is my card")
    engine.load(late)
    assert ask(engine, late, "where is my card").logprobs
    engine.close()


@pytest.mark.usefixtures("of_tokens")
def test_a_code_of_two_tokens_is_refused_at_loading(home: Place, card: Card) -> None:
    engine = home.engine()
    with pytest.raises(ConfigError, match="'QQQ' is 3 tokens"):
        engine.load(replace(card, codes={"category": {"refunds": "QQQ"}}))
    engine.close()
