"""What Ollama is asked about an llm that was not trained on our prompts: its vocabulary, and whether all has room."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import standin_http
from standin import Fault, Standin
from structlog.testing import capture_logs

import models.llm
from models.errors import ConfigError, EngineError
from models.llm.text import whole
from models.taxonomy import Taxonomy
from workers import untrained
from workers.engines.ollama import Ollama
from workers.figures import Figures
from workers.llm import Llm
from workers.suspicion import TICKETS
from workers.untrained import Untrained

Make = Callable[..., Ollama]
DEMO = Path(models.llm.__file__).parent / "demo"
LABELS = Taxonomy.model_validate({"fields": {"intent": {"labels": [{"id": "q0"}, {"id": "q1"}]}}})


@pytest.fixture
def zero(engine: Make) -> Callable[..., Llm]:
    """Makes an llm of the demo's primary as if it was not trained on our prompts."""

    def make(**settings: Any) -> Llm:
        made = engine(**settings)
        return Llm("tiny-primary", Path(), made, Figures(), untrained=Untrained("tiny-primary", "llama3"))

    return make


def test_a_vocabulary_is_asked_for_once_while_all_is_well(zero: Callable[..., Llm], standin: Standin) -> None:
    llm = zero()
    llm.load(LABELS)
    llm.load(LABELS)
    assert standin.shown == [True, False], "the whole vocabulary once, and once which file it is"
    assert llm.card is not None
    assert llm.card.digest == standin.find("triage-primary").blob


def test_one_that_was_suspected_keeps_the_labels_that_it_was_told(zero: Callable[..., Llm], standin: Standin) -> None:
    """A command has it loaded again without saying them."""
    llm = zero()
    llm.load(LABELS)
    standin.fault = Fault("no_logprobs")
    for number in range(TICKETS):
        with pytest.raises(EngineError):
            llm.ask(whole("", f"where is my card {number}"), "intent", LABELS.fields_["intent"])
    assert "known question" in (llm.error or "")
    standin.fault = None
    llm.load()
    assert (llm.error, llm.taxonomy) == (None, LABELS)


def test_a_model_that_is_mended_is_asked_for_its_vocabulary_again(
    zero: Callable[..., Llm], standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = zero()
    with monkeypatch.context() as poor:
        poor.setattr(untrained, "AGAIN_S", float("inf"))
        poor.setattr(standin_http, "vocabulary", lambda gguf: ["other", "tokens"])
        for _ in range(2):
            with pytest.raises(ConfigError, match="this llm has 0"):
                llm.load(LABELS)
    assert standin.shown == [True], "not at every look"
    monkeypatch.setattr(untrained, "AGAIN_S", 0.0)
    llm.load(LABELS)
    assert llm.card is not None
    assert llm.card.codes["intent"] == {"q0": "A", "q1": "B"}


def test_labels_that_fill_the_context_are_refused(zero: Callable[..., Llm], standin: Standin) -> None:
    standin.add("triage-primary", DEMO / "primary.gguf", num_ctx=128)
    with pytest.raises(ConfigError, match="labels alone do not fit into the context of triage-primary: make it with a"):
        zero().load(LABELS)


def test_a_context_for_short_tickets_only_is_told_and_long_ones_are_cut_more(
    zero: Callable[..., Llm], standin: Standin
) -> None:
    standin.add("triage-primary", DEMO / "primary.gguf", num_ctx=1_500)
    llm, long = zero(), whole("", "7" * 5_000)
    with capture_logs() as logs:
        llm.load(LABELS)
    (told,) = [line for line in logs if line["event"] == "ollama.short_context"]
    assert (told["context"], told["wanted"]) == (1_500, 2_048)
    opinion = llm.ask(long, "intent", LABELS.fields_["intent"])
    sent = [request["prompt"].count("7") for request in standin.requests[-2:]]
    assert sent == [2_304 - len(" ... "), 768 - len(" ... ")]
    assert opinion.cut
    assert opinion.timings.prompt_tokens is not None
    assert 768 < opinion.timings.prompt_tokens < 1_500
