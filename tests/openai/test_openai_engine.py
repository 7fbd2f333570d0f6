"""What only the engine of OpenAI's API promises: how it asks, how long it waits, and whose fault a fault is."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cloud import Cloud
from structlog.testing import capture_logs

import models.llm
from models.errors import ConfigError, EngineDown, EngineError, TicketRejected
from models.llm.card import Card, load_card
from models.llm.prompt import render
from workers.engines.guard import FAILURES, Paused
from workers.engines.llamacpp import LlamaCpp
from workers.engines.openai import OpenAi

Make = Callable[..., OpenAi]
DEMO = Path(models.llm.__file__).parent / "demo"
TEXTS = ["where is my card", "i want a refund", "why was my transfer declined", "change my pin"]
PROMPT = render(TEXTS[0], "category", "tuned-1")
CHAT = "/chat/completions"


def ask(engine: OpenAi, card: Card, prompt: str = PROMPT) -> dict[str, float]:
    return engine.score("tiny-primary", prompt, list(card.codes["category"].values())).logprobs


def until(call: Callable[[], object]) -> object:
    """The call's result, once the pause that it is refused for is over."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return call()
        except Paused:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_it_sends_the_prompt_as_it_is_and_nothing_that_changes_log_probabilities(
    engine: Make, made: Cloud, card: Card
) -> None:
    ready = engine()
    ready.load(card)
    ask(ready, card)
    assert made.requests[-1] == {
        "model": "first",
        "prompt": PROMPT,
        "max_tokens": 1,
        "temperature": 1,
        "logprobs": 100,
    }
    assert set(made.paths) == {"/models", "/completions"}


@pytest.mark.parametrize("name", ["primary", "fallback"])
def test_it_says_what_llama_cpp_says_in_this_process(engine: Make, tmp_path: Path, name: str) -> None:
    card = load_card(DEMO / f"{name}.gguf")
    here, there = LlamaCpp(tmp_path), engine()
    try:
        for one in (here, there):
            one.load(card)
        for field, labels in card.codes.items():
            for text in TEXTS:
                prompt = render(text, field, card.prompt_version)
                ours, theirs = (one.score(card.name, prompt, list(labels.values())).logprobs for one in (here, there))
                assert theirs
                assert theirs.keys() <= ours.keys()
                assert all(abs(ours[code] - value) < 1e-3 for code, value in theirs.items())
    finally:
        here.close()


def test_while_all_is_well_nothing_is_asked_by_loading_again(engine: Make, made: Cloud, card: Card) -> None:
    ready = engine()
    served, before = ready.load(card), len(made.paths)
    assert ready.load(card) is served
    assert len(made.paths) == before


@pytest.mark.parametrize(("refused", "limit"), [(set(), "max_tokens"), ({"max_tokens"}, "max_completion_tokens")])
def test_where_there_are_no_completions_it_is_asked_by_chat(
    engine: Make, made: Cloud, card: Card, refused: set[str], limit: str
) -> None:
    made.without, made.refused = {"/completions"}, refused
    ready = engine()
    assert ready.load(card).served == ("first/chat",)
    assert ask(ready, card)
    assert made.paths[-1] == CHAT
    assert made.requests[-1] == {
        "model": "first",
        "messages": [{"role": "user", "content": PROMPT}],
        limit: 1,
        "temperature": 1,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert made.paths.count("/completions") == 1, "a path that is not there is not asked again"


def test_without_log_probabilities_there_is_a_label_and_no_number(engine: Make, made: Cloud, card: Card) -> None:
    made.without, made.refused = {"/completions"}, {"logprobs"}
    ready = engine()
    assert ready.load(card).served == ("first/choice",)
    scores = ready.score("tiny-primary", PROMPT, ["A", "B", "C"])
    assert (scores.logprobs, scores.complete) == ({}, False)
    assert scores.chosen in {"A", "B", "C"}
    enum = made.requests[-1]["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"]
    assert enum == [label for label, code in card.codes["category"].items() if code in "ABC"]
    assert (scores.timings.completion_tokens or 0) > 1


def test_a_server_that_can_be_asked_in_no_form_is_refused(engine: Make, made: Cloud, card: Card) -> None:
    made.without, made.refused = {"/completions"}, {"logprobs", "response_format"}
    with pytest.raises(ConfigError, match="neither log-probabilities nor an answer held to a list of labels"):
        engine().load(card)


def test_a_model_that_is_not_there_is_named_with_those_that_are(engine: Make, made: Cloud, card: Card) -> None:
    del made.models["first"]
    with pytest.raises(EngineDown, match=r"has no model 'first'; it lists second\."):
        engine().load(card)
    made.without = {"/models"}
    with pytest.raises(ConfigError, match="neither"):
        engine().load(card)


def test_a_server_without_a_list_of_models_will_do(engine: Make, made: Cloud, card: Card) -> None:
    made.without = {"/models"}
    ready = engine()
    ready.load(card)
    assert ask(ready, card)


def test_a_calibration_counts_only_for_what_the_card_names(engine: Make, made: Cloud, card: Card) -> None:
    made.versions["first"] = "first-2026-11-01"
    with capture_logs() as logs:
        served = engine().load(card)
    assert (served.digest, served.calibration) == ("first-2026-11-01/completions", {})
    assert [line["served"] for line in logs] == ["first-2026-11-01/completions"]
    named = replace(card, digest="first-2026-11-01/completions", served=())
    assert engine().load(named).calibration == card.calibration


def test_another_version_is_noticed_and_loaded_anew(engine: Make, made: Cloud, card: Card) -> None:
    ready = engine()
    assert ready.load(card).calibration
    made.versions["first"] = "first-2"
    with pytest.raises(EngineDown, match="another version of 'first'"):
        ask(ready, card)
    with pytest.raises(EngineDown, match="not loaded"):
        ask(ready, card)
    assert ready.load(card).digest == "first-2/completions"
    assert ask(ready, card)


def test_never_more_calls_than_agreed(engine: Make, made: Cloud, card: Card) -> None:
    ready = engine(parallel=2)
    ready.load(card)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: ask(ready, card), range(40)))
    assert made.most_in_flight <= 2


@pytest.mark.parametrize("mode", ["stall", "drip"])
def test_the_deadline_holds_also_where_bytes_drip(engine: Make, made: Cloud, card: Card, mode: str) -> None:
    ready = engine()
    ready.load(card)
    ready._deadline_s = 0.3
    made.fault = mode
    with pytest.raises(EngineDown, match="did not answer in time"):
        ask(ready, card)


def test_a_server_that_loads_when_asked_has_longer(engine: Make, made: Cloud, card: Card) -> None:
    made.fault = "stall"
    with pytest.raises(EngineDown, match="did not answer in time"):
        engine(load_s=0.3).load(card)
    made.fault = None
    assert engine(load_s=60).load(card) == card


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_is_asked_for_is_kept(engine: Make, made: Cloud, card: Card, status: int) -> None:
    ready = engine()
    ready.load(card)
    made.fault, made.retry_after = status, "500"
    before = len(made.paths)
    for _ in range(FAILURES + 1):
        with pytest.raises(Paused, match="pause of") as caught:
            ask(ready, card)
        assert 1 <= (caught.value.retry_after or 0) <= 500
    assert len(made.paths) == before + 1, "nothing is sent meanwhile"
    assert "asked for a pause" in (ready.open_breaker("tiny-primary") or "")


def test_pauses_are_no_failures_and_end(engine: Make, made: Cloud, card: Card) -> None:
    ready = engine()
    ready.load(card)
    made.fault, made.retry_after = 429, "0"
    for _ in range(FAILURES + 1):
        with pytest.raises(Paused):
            ask(ready, card)
        ready._server._not_before = 0.0
    made.fault = None
    assert ask(ready, card)
    assert ready.open_breaker("tiny-primary") is None


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        (None, 5, 5),
        ("soon", 5, 5),
        ("2.5", 3, 3),
        ("-1", 1, 1),
        ("nan", 5, 5),
        ("1e999", 5, 5),
        ("86400", 600, 600),
        ("Sat, 21 Nov 2015 08:00:00 GMT", 1, 1),
    ],
)
def test_what_retry_after_may_say(
    engine: Make, made: Cloud, card: Card, said: str | None, least: int, most: int
) -> None:
    ready = engine()
    made.fault, made.retry_after = 429, said
    with pytest.raises(Paused) as caught:
        ready.load(card)
    assert least <= (caught.value.retry_after or 0) <= most


def test_retry_after_may_be_a_date(engine: Make, made: Cloud, card: Card) -> None:
    made.fault, made.retry_after = 429, format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    with pytest.raises(Paused) as caught:
        engine().load(card)
    assert 1 <= (caught.value.retry_after or 0) <= 300


def test_a_pause_in_the_middle_of_loading_ends(engine: Make, made: Cloud, card: Card) -> None:
    ready = engine()
    made.fault, made.retry_after = 429, "1"
    with pytest.raises(Paused):
        ready.load(card)
    made.fault = None
    assert until(lambda: ready.load(card)) == card
    assert ask(ready, card)


@pytest.mark.parametrize("key", ["wrong-key-1234", None])
def test_a_key_that_is_refused_is_named_by_its_variable_and_never_shown(
    engine: Make, made: Cloud, card: Card, key: str | None
) -> None:
    made.key = "right-key"
    with capture_logs() as logs, pytest.raises(ConfigError) as caught:
        engine(key=key, key_env=None if key is None else "CLOUD_KEY").load(card)
    wanted = "wants a key" if key is None else "refuses the key in CLOUD_KEY"
    assert wanted in caught.value.message
    assert "1234" not in caught.value.message + str(logs)


def test_a_key_that_is_taken_back_unloads_the_llm(engine: Make, made: Cloud, card: Card) -> None:
    made.key = "right-key"
    ready = engine(key="right-key", key_env="CLOUD_KEY")
    ready.load(card)
    assert ask(ready, card)
    made.key = "newer-key"
    with pytest.raises(ConfigError, match="CLOUD_KEY"):
        ask(ready, card)
    with pytest.raises(ConfigError, match="CLOUD_KEY"):
        ready.load(card)


def test_a_model_that_goes_away_costs_no_ticket(engine: Make, made: Cloud, card: Card) -> None:
    ready = engine()
    ready.load(card)
    del made.models["first"]
    with pytest.raises(EngineDown, match="does not answer for 'first' any more"):
        ask(ready, card)


def test_too_long_is_the_tickets_fault_and_other_refusals_do_not_repeat_it(
    engine: Make, made: Cloud, card: Card
) -> None:
    ready = engine()
    ready.load(card)
    for fault in (400, 413):
        made.fault = fault
        with pytest.raises(TicketRejected, match="more tokens than the llm's context"):
            ask(ready, card)
    made.fault = 422
    with pytest.raises(EngineError, match=r"refused the request with 422 \(some_trouble\)\.$") as caught:
        ask(ready, card)
    assert not isinstance(caught.value, EngineDown)


@pytest.mark.parametrize("fault", ["nothing", float("nan"), -3.4028234663852886e38, -9999.0, 0.5])
def test_an_answer_without_a_score_is_never_a_zero(engine: Make, made: Cloud, card: Card, fault: str | float) -> None:
    ready = engine()
    ready.load(card)
    made.fault = fault
    for _ in range(FAILURES + 1):
        with pytest.raises(EngineError, match="without log-probabilities") as caught:
            ask(ready, card)
        assert not isinstance(caught.value, EngineDown)
    made.fault = None
    assert ask(ready, card)


@pytest.mark.parametrize(("fault", "says"), [(500, "failed with 500"), ("html", "does not speak OpenAI's API")])
def test_after_failures_in_a_row_nobody_is_asked_until_it_is_loaded_anew(
    engine: Make, made: Cloud, card: Card, fault: int | str, says: str
) -> None:
    ready = engine()
    ready.load(card)
    made.fault = fault
    for _ in range(FAILURES):
        with pytest.raises(EngineDown, match=says):
            ask(ready, card)
    before = len(made.paths)
    with pytest.raises(EngineDown, match=f"failed {FAILURES} times in a row for tiny-primary"):
        ask(ready, card)
    assert len(made.paths) == before
    assert says in (ready.open_breaker("tiny-primary") or "")
    made.fault = None
    ready.load(card)
    assert ask(ready, card)
    assert ready.open_breaker("tiny-primary") is None


def test_nobody_there(card: Card) -> None:
    engine = OpenAi("http://127.0.0.1:1/v1", {"tiny-primary": "x"})
    with pytest.raises(EngineDown, match=r"Nobody answers at http://127\.0\.0\.1:1/v1: start it, or mend engines\.url"):
        engine.load(card)
    engine.close()
