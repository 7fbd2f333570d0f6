"""An llm that was not trained on our prompts, on every engine that has any: with weights of the demo, whose answers are
nonsense here. It is the way to them that is tested."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Place, place

import models.llm
from models.errors import ConfigError, EngineDown
from models.llm.card import load_card, sha256
from models.llm.text import whole
from models.taxonomy import Taxonomy
from workers.engines.base import Engine
from workers.figures import Figures
from workers.llm import Llm
from workers.untrained import Untrained

GGUF = Path(models.llm.__file__).parent / "demo" / "primary.gguf"
NAME = "tiny-primary"
TEXT = whole("", "where is my new card?")


def taxonomy(n: int) -> Taxonomy:
    """Of one field: its codes begin with A, and the demo's weights know no letter after K."""
    return Taxonomy.model_validate({"fields": {"intent": {"labels": [{"id": f"q{at}"} for at in range(n)]}}})


@pytest.fixture(scope="module", params=["llamacpp", "ollama-0.24.0", "ollama-0.32.15", "openai", "ollama-real"])
def home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Place, Path | None]]:
    with place(request.param, tmp_path_factory.mktemp("engine")) as found:
        card = found.put(load_card(GGUF), GGUF)
        yield request.param, found, card.path if request.param == "llamacpp" else None


@pytest.fixture(scope="module")
def engine(home: tuple[str, Place, Path | None]) -> Iterator[Engine]:
    made = home[1].engine(parallel=2)
    yield made
    made.close()


def untrained(engine: Engine, path: Path | None, family: str = "plain") -> Llm:
    return Llm(NAME, path or Path(), engine, Figures(), untrained=Untrained(NAME, family, path))


@pytest.mark.parametrize("n", [2, 20, 77, 151])
def test_it_answers_for_any_number_of_labels(home: tuple[str, Place, Path | None], engine: Engine, n: int) -> None:
    kind, _, path = home
    # The demo's weights answer these prompts with letters, which ones depends on all that comes before.
    family = "llama3" if kind == "openai" or n == 2 else "plain"
    llm, labels = untrained(engine, path, family), taxonomy(n)
    llm.load(labels)
    assert llm.card is not None
    assert llm.card.digest
    assert llm.lacks(labels) is None
    grouped = any("/" in code for code in llm.card.codes["intent"].values())
    assert grouped == (n > 20 if engine.shows else n > 77), "the demo's vocabulary has 103 codes"
    opinion = llm.ask(TEXT, "intent", labels.fields_["intent"])
    found = opinion.answer
    assert found.scores.keys() == {f"q{at}" for at in range(n)}
    assert sum(found.scores.values()) == pytest.approx(1.0)
    assert found.complete or kind != "llamacpp" or grouped
    assert not found.calibrated
    assert not opinion.cut
    assert opinion.pin.prompt_version == f"instruct-{family}-1"
    assert opinion.pin.digest == llm.card.digest


def test_the_labels_that_change_are_told_and_the_weights_stay(
    home: tuple[str, Place, Path | None], engine: Engine
) -> None:
    kind, _, path = home
    llm = untrained(engine, path, "llama3")
    with pytest.raises(EngineDown, match="waits for a taxonomy"):
        llm.load()
    few, many = taxonomy(2), taxonomy(3)
    llm.load(few)
    first, weights = llm.card, dict(getattr(engine, "_weights", {}))
    assert first is not None
    llm.load(few)
    assert llm.card is first
    with pytest.raises(EngineDown, match="has not been told the new labels yet"):
        llm.ask(TEXT, "intent", many.fields_["intent"])
    llm.load(many)
    assert llm.card is not None
    assert llm.card.digest == first.digest
    assert llm.card.codes["intent"] == {"q0": "A", "q1": "B", "q2": "C"}
    assert "\nC = q2" in llm.card.header
    assert llm.ask(TEXT, "intent", many.fields_["intent"]).answer.scores.keys() == {"q0", "q1", "q2"}
    assert getattr(engine, "_weights", {}) == weights, "llama.cpp has loaded nothing anew"
    if kind == "llamacpp":
        assert llm.card.digest == sha256(GGUF)


def test_a_vocabulary_without_codes_of_that_family_is_a_sentence(
    home: tuple[str, Place, Path | None], engine: Engine
) -> None:
    kind, _, path = home
    if kind == "openai":
        pytest.skip("no server tells its vocabulary")
    llm = untrained(engine, path, "mistral")
    with pytest.raises(
        ConfigError,
        match=r"probably wrong for this llm\. The labels need 2 codes of one token each, and this llm has 0",
    ):
        llm.load(taxonomy(2))
