"""What only the Ollama engine promises: what it sends, when it loads, how long it waits, and whose fault a fault is."""

import http.client
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace

import httpx
import pytest
from processes import eventually
from standin import Fault, Standin
from structlog.testing import capture_logs

from models.errors import ConfigError, EngineDown, EngineError, TicketRejected
from models.llm.card import Card
from models.llm.prompt import render
from workers.engines.exchange import Reply
from workers.engines.guard import FAILURES
from workers.engines.ollama import Ollama, by_text
from workers.engines.ollama_http import refusal, token_request

Make = Callable[..., Ollama]
CODES = ["A", "B", "C"]
PROMPT = render("where is my card", "category", "tuned-1")


def ask(engine: Ollama, prompt: str = PROMPT) -> dict[str, float]:
    return engine.score("tiny-primary", prompt, CODES).logprobs


def prompts(standin: Standin) -> list[str]:
    return [request["prompt"] for request in standin.requests if request.get("prompt")]


def test_it_sends_what_gives_raw_scores_and_nothing_that_makes_ollama_load_anew(
    engine: Make, standin: Standin, card: Card
) -> None:
    made = engine()
    made.load(card)
    ask(made)
    assert standin.requests[0] == {"model": "triage-primary"}
    assert standin.requests[-1] == {
        "model": "triage-primary",
        "prompt": PROMPT,
        "raw": True,
        "stream": False,
        "truncate": False,
        "logprobs": True,
        "top_logprobs": 20,
        "options": {"num_predict": 1, "temperature": 0, "seed": 0, "repeat_penalty": 1.0},
    }
    assert {tuple(request) for request in standin.requests} == {tuple(standin.requests[i]) for i in (0, -1)}


def test_tokens_that_read_alike_add_up() -> None:
    top = [("A", 0.5), (" A", 0.2), ("A", 0.1), ("B", 0.0)]
    entries = [{"token": t, "logprob": math.log(p) if p else -3.4028e38} for t, p in top]
    found = by_text({"done": True, "logprobs": [{"top_logprobs": entries}]})
    assert found["A"] == pytest.approx(math.log(0.6))
    assert (found[" A"], found["B"]) == (math.log(0.2), -3.4028e38)


@pytest.mark.parametrize(
    "logprobs",
    [None, [], {}, "no", [None], [{"top_logprobs": []}], [{"top_logprobs": [{"token": "A", "logprob": None}]}]],
)
def test_what_cannot_be_read_is_no_score(logprobs: object) -> None:
    with pytest.raises(EngineError, match="without log-probabilities"):
        by_text({"done": True, "logprobs": logprobs})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 0.5, 10**400, -(10**400)], ids=range(6))
def test_a_number_that_is_no_log_probability_is_no_score(number: float) -> None:
    with pytest.raises(EngineError, match="without log-probabilities"):
        by_text({"done": True, "logprobs": [{"top_logprobs": [{"token": "A", "logprob": number}]}]})


def test_numbers_that_nobody_believes_are_not_reported(engine: Make, standin: Standin, card: Card) -> None:
    made = engine()
    made.load(card)
    standin.fault = Fault("huge")
    found = made.score("tiny-primary", PROMPT, CODES)
    assert found.logprobs
    assert (found.timings.prompt_tokens, found.timings.cached_tokens) == (None, None)
    assert (found.timings.load_ms, found.timings.decode_ms) == (0.0, 0.0)


@pytest.mark.parametrize(("says", "good"), [("0.12.10", False), ("0.12.11", True), ("0.0.0", True), ("new", True)])
def test_an_old_version_is_refused_and_an_unknown_one_only_noted(
    engine: Make, standin: Standin, card: Card, says: str, good: bool
) -> None:
    standin.says = says
    made = engine()
    with capture_logs() as logs:
        if good:
            made.load(card)
            assert made.version == says
        else:
            with pytest.raises(ConfigError, match=r"0\.12\.10 gives no log-probabilities: update it to 0\.12\.11"):
                made.load(card)
    assert any(line["event"] == "ollama.version_unknown" for line in logs) == (says in ("0.0.0", "new"))


@pytest.mark.parametrize("answer", [{"status": "ok"}, {"models": None}, {"models": ["x"]}, {"models": [{}]}])
def test_what_is_not_ollama_is_not_loaded(
    engine: Make, card: Card, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr("standin_http.Handler._ps", lambda handler: answer)
    with pytest.raises(EngineDown, match="is not Ollama: it lists no models"):
        engine().load(card)


def test_a_caller_who_leaves_ends_the_loading_so_it_waits_long(engine: Make, standin: Standin, card: Card) -> None:
    standin.load_s = 0.6
    with pytest.raises(EngineDown, match="did not answer in time"):
        engine(load_s=0.2).load(card)
    time.sleep(0.7)
    assert standin.resident == {}
    engine(load_s=10).load(card)
    assert [weights.name for weights in standin.resident.values()] == ["triage-primary:latest"]


def test_a_ticket_never_makes_ollama_load(engine: Make, standin: Standin, card: Card) -> None:
    made = engine(deadline_s=3.0)
    made.load(card)
    standin.unload("triage-primary")
    standin.load_s = 3.5
    before = len(standin.requests)
    made.load(card)
    assert standin.requests[before] == {"model": "triage-primary"}, "a load without a prompt comes first"
    assert ask(made)


def test_while_all_is_well_loading_again_asks_for_one_list(engine: Make, standin: Standin, card: Card) -> None:
    made = engine()
    served = made.load(card)
    before = len(standin.requests)
    assert made.load(card) is served
    assert len(standin.requests) == before


@pytest.mark.parametrize("mode", ["stopped", "busy"])
def test_what_passes_is_asked_again_once(engine: Make, standin: Standin, card: Card, mode: str) -> None:
    made = engine()
    made.load(card)
    standin.fault = Fault(mode, times=1)
    assert ask(made)
    standin.fault, before = Fault(mode), len(standin.requests)
    with pytest.raises(EngineDown, match="not able to answer now"):
        ask(made)
    assert len(standin.requests) == before + 2


def test_a_refusal_is_not_asked_again(engine: Make, standin: Standin, card: Card) -> None:
    made = engine()
    made.load(card)
    before = len(standin.requests)
    with pytest.raises(TicketRejected, match="more tokens than the llm's context"):
        ask(made, "qx " * 9000)
    del standin.models["triage-primary:latest"]
    with pytest.raises(EngineDown, match="no model 'triage-primary': run triage llm create or triage llm pull"):
        ask(made)
    assert len(standin.requests) == before + 2


@pytest.mark.parametrize("status", [400, 500, 503])
@pytest.mark.parametrize("form", ['{{"error": "cannot read: {}"}}', "<p>blocked: {}</p>"])
def test_an_error_that_repeats_the_ticket_is_not_passed_on(status: int, form: str) -> None:
    """It would stand in logs, rows and /readyz, also after the ticket was erased."""
    body, asked = token_request("triage-primary", PROMPT), form.format("where is my card")
    said = refusal(Reply(status, httpx.Headers(), asked.encode()), body).message
    assert "my card" not in said
    assert said.endswith("its own words repeat the ticket.")
    other = refusal(Reply(status, httpx.Headers(), b'{"error": "CUDA error: out of memory"}'), body).message
    assert other.endswith(": CUDA error: out of memory.")


@pytest.mark.parametrize("mode", ["no_logprobs", "empty"])
def test_an_answer_without_a_score_is_never_a_zero(engine: Make, standin: Standin, card: Card, mode: str) -> None:
    made = engine()
    made.load(card)
    standin.fault = Fault(mode)
    with pytest.raises(EngineError, match="without log-probabilities") as caught:
        ask(made)
    assert not isinstance(caught.value, EngineDown)
    with pytest.raises(EngineError, match="without log-probabilities"):
        engine().load(card)


def test_the_deadline_holds_for_the_wait_and_the_call_together(engine: Make, standin: Standin, card: Card) -> None:
    made = engine(parallel=1, deadline_s=3.0)
    made.load(card)
    standin.fault = Fault("stall")
    began = time.monotonic()

    def failure(_: int) -> str:
        with pytest.raises(EngineDown) as caught:
            ask(made)
        return caught.value.message

    with ThreadPoolExecutor(4) as pool:
        said = sorted(pool.map(failure, range(4)))
    assert time.monotonic() - began < 11, "one after the other would take twelve seconds"
    assert any("did not answer in time" in sentence for sentence in said)


@pytest.mark.parametrize("mode", ["stall", "drip"])
def test_the_deadline_holds_also_where_bytes_drip(engine: Make, standin: Standin, card: Card, mode: str) -> None:
    made = engine()
    made.load(card)
    made._deadline_s = 0.5
    standin.fault = Fault(mode)
    with pytest.raises(EngineDown, match="did not answer in time"):
        ask(made)
    standin.fault, made._deadline_s = None, 30.0
    assert ask(made)


def test_nobody_there(card: Card) -> None:
    with pytest.raises(EngineDown, match=r"No Ollama answers at http://127\.0\.0\.1:1: start it, or mend engines\.url"):
        Ollama("http://127.0.0.1:1", {"tiny-primary": "x"}).load(card)


def test_after_failures_in_a_row_nobody_waits_until_it_is_loaded_anew(
    engine: Make, standin: Standin, card: Card
) -> None:
    made = engine(deadline_s=0.5)
    made.load(card)
    standin.fault = Fault("stall")
    for _ in range(FAILURES):
        with pytest.raises(EngineDown, match="in time"):
            ask(made)
    before = len(standin.requests)
    with pytest.raises(EngineDown, match=f"failed {FAILURES} times in a row for tiny-primary: Ollama at .* in time"):
        ask(made)
    assert len(standin.requests) == before
    standin.fault = None
    made.load(card)
    assert ask(made)


def test_a_tickets_own_fault_does_not_count_against_ollama(engine: Make, standin: Standin, card: Card) -> None:
    made = engine()
    made.load(card)
    standin.fault = Fault("no_logprobs")
    for _ in range(FAILURES * 2):
        with pytest.raises(EngineError, match="without log-probabilities"):
            ask(made)
    standin.fault = None
    assert ask(made)


def test_two_llms_that_push_each_other_out_are_not_used_together(
    engine: Make, standin: Standin, card: Card, other: Card
) -> None:
    standin.room = 1
    made = engine()
    made.load(card)
    with pytest.raises(ConfigError, match="pushed triage-primary out of Ollama: set OLLAMA_MAX_LOADED_MODELS=2"):
        made.load(other)
    made.load(card)
    assert ask(made)
    before = len(standin.requests)
    with pytest.raises(ConfigError, match="pushed"):
        made.load(other)
    assert len(standin.requests) == before, "it does not push again"


def test_the_digest_of_other_weights_is_theirs_and_the_calibration_does_not_count(
    engine: Make, standin: Standin, card: Card
) -> None:
    digest = standin.models["triage-primary:latest"].digest
    assert engine().load(card) == replace(card, served=(digest,))
    foreign = replace(card, digest="0" * 64)
    with capture_logs() as logs:
        assert engine().load(foreign) == replace(foreign, digest=digest, served=(digest,), calibration={})
    assert any(line["event"] == "ollama.uncalibrated" for line in logs)
    known = replace(foreign, served=("other", digest))
    assert engine().load(known).calibration == card.calibration


def test_a_model_replaced_under_the_engine_is_noticed(engine: Make, standin: Standin, card: Card, other: Card) -> None:
    made = engine()
    before = made.load(card)
    standin.add("triage-primary", other.path, num_ctx=2560)
    after = made.load(card)
    assert after.digest != before.digest
    assert after.calibration == {}


def test_eight_hundred_at_once_never_fill_more_than_the_slots(engine: Make, standin: Standin, card: Card) -> None:
    made = engine(parallel=3, deadline_s=120)
    made.load(card)
    with ThreadPoolExecutor(800) as pool:
        found = list(pool.map(lambda _: ask(made)["A"], range(800)))
    assert len(found) == 800
    assert max(found) - min(found) < 1e-3
    assert standin.most_in_flight <= 3


def test_ollama_itself_takes_any_number(standin: Standin) -> None:
    """Its own queue has no bound and refuses nobody, which is why the engine counts."""
    body = json.dumps({"model": "triage-primary", "prompt": "x", "stream": False, "options": {"num_predict": 1}})
    host = standin.url.removeprefix("http://")
    with ExitStack() as opened:
        callers = [opened.enter_context(closing(http.client.HTTPConnection(host, timeout=120))) for _ in range(800)]
        for caller in callers:
            caller.connect()
        # Nobody is answered before all have asked.
        with standin.loading:
            for caller in callers:
                caller.request("POST", "/api/generate", body)
            eventually(lambda: standin.in_flight == 800)
        assert {caller.getresponse().status for caller in callers} == {200}
