"""An Ollama that answers rubbish to everybody fails nobody, and tickets that are rubbish themselves still end."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import taxonomies
from standin import Fault, Standin
from structlog.testing import capture_logs

from models.errors import EngineDown, EngineError
from models.llm.text import whole
from models.taxonomy import TaxonomyField
from workers.llm import Llm
from workers.record import ATTEMPTS
from workers.runtime import Runtime
from workers.suspicion import EACH, TICKETS

Sql = Callable[..., list[Any]]
POISON = "qxpoisonqx"
SAID = "Ollama answered without log-probabilities: the first token has no text."


@pytest.fixture(autouse=True)
def trials_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.backoff.FIRST_S", 0.0)


@pytest.fixture
def poisoned(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers a prompt with a certain word without a score, whoever asks."""
    real = standin.generate

    def generate(request: dict[str, Any], caller: Any) -> Any:
        answer = real(request, caller)
        if POISON in request.get("prompt", ""):
            answer.pop("logprobs", None)
        return answer

    monkeypatch.setattr(standin, "generate", generate)


def post(client: httpx.Client, *bodies: str) -> None:
    assert client.post("/v1/tickets/batch", json={"tickets": [{"body": one} for one in bodies]}).status_code == 202


def look(worker: Runtime, sql: Sql) -> None:
    """With every ticket due again, as if it was much later."""
    sql("UPDATE tickets SET due_at = now() WHERE status = 'queued'")
    worker.look()


def test_a_queue_waits_until_the_engine_is_well_again(
    worker: Runtime, client: httpx.Client, standin: Standin, sql: Sql
) -> None:
    post(client, *(f"where is my card {number}" for number in range(40)))
    standin.fault = Fault("no_logprobs")
    for _ in range(ATTEMPTS + 2):
        look(worker, sql)
    assert sql("SELECT DISTINCT status FROM tickets") == [("queued",)]
    assert sql("SELECT max(attempts), sum(attempts) < %s FROM tickets", TICKETS) == [(1, True)]
    errors = [error for (error,) in sql("SELECT last_error FROM tickets WHERE attempts = 0 AND last_error IS NOT NULL")]
    assert errors
    assert all(error.startswith("The llm primary is not loaded: it refused") for error in errors)
    worker.beat()
    (missing,) = client.get("/readyz").json()["missing"]
    assert missing == f"The llm primary is not loaded: it refuses every ticket, and a known question too. {SAID}"

    standin.fault = None
    look(worker, sql)
    assert sql("SELECT DISTINCT status, last_error FROM tickets") == [("done", None)]
    worker.beat()
    assert client.get("/readyz").json() == {"status": "ok", "missing": []}


def test_a_heartbeat_tells_an_error_that_no_row_can_hold(
    worker: Runtime, client: httpx.Client, standin: Standin
) -> None:
    standin.unload("triage-primary")
    standin.fault = Fault("half")
    worker.load()
    worker.beat()
    why = "The llm primary is not loaded: Ollama failed with 500: half a character: \ufffd."
    assert client.get("/readyz").json()["missing"] == [why]


def test_a_mistake_of_ours_with_every_answer_fails_nobody(
    worker: Runtime, client: httpx.Client, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[KeyError] = []

    def mistaken(*_: object) -> None:
        made.append(KeyError("eval_count"))
        raise made[-1]

    post(client, *(f"where is my card {number}" for number in range(20)))
    with monkeypatch.context() as broken:
        broken.setattr("workers.engines.ollama._timings", mistaken)
        with capture_logs() as lines:
            for _ in range(ATTEMPTS + 2):
                look(worker, sql)
        told = [line["exc_info"] for line in lines if "exc_info" in line]
        assert sorted(map(id, told)) == sorted(map(id, made)), "each is told once"
        assert sql("SELECT DISTINCT status FROM tickets") == [("queued",)]
        assert sql("SELECT max(attempts), sum(attempts) < %s FROM tickets", TICKETS) == [(1, True)]
        said = "The worker failed with KeyError; its log has the details."
        assert worker.llms.all["primary"].error == f"it refuses every ticket, and a known question too. {said}"
    look(worker, sql)
    assert sql("SELECT DISTINCT status, last_error FROM tickets") == [("done", None)]


@pytest.mark.parametrize("many", [TICKETS, 3 * TICKETS])
def test_tickets_that_are_rubbish_themselves_end_as_failed(
    worker: Runtime, client: httpx.Client, poisoned: None, sql: Sql, many: int
) -> None:
    post(client, *(f"{POISON} {number}" for number in range(many)))
    looks = 0
    while sql("SELECT 1 FROM tickets WHERE status <> 'failed'"):
        look(worker, sql)
        looks += 1
        assert looks < 3 * ATTEMPTS, "they go round for ever"
    assert sql("SELECT DISTINCT attempts, last_error FROM tickets") == [(ATTEMPTS, SAID)]
    post(client, "where is my card")
    look(worker, sql)
    assert sql("SELECT status FROM tickets WHERE body = 'where is my card'") == [("done",)]


def refused(llm: Llm, labels: TaxonomyField, text: str) -> bool:
    """Whether the refusal is the ticket's own fault."""
    with pytest.raises(EngineError) as caught:
        llm.ask(whole("", f"{POISON} {text}"), "category", labels)
    return not isinstance(caught.value, EngineDown)


@pytest.fixture
def labels() -> TaxonomyField:
    return taxonomies.demo("category").fields_["category"]


def test_one_answer_between_makes_no_row(worker: Runtime, poisoned: None, labels: TaxonomyField) -> None:
    llm = worker.llms.all["primary"]
    for number in range(3 * TICKETS):
        assert refused(llm, labels, f"{number}")
        if number % 2:
            llm.ask(whole("", "where is my card"), "category", labels)
    assert llm.error is None


def test_one_ticket_with_all_its_attempts_is_one(worker: Runtime, poisoned: None, labels: TaxonomyField) -> None:
    """Tickets are told apart by their texts, and tickets of one text by being more than one can be."""
    llm = worker.llms.all["primary"]
    found = [refused(llm, labels, "the same") for _ in range(TICKETS * EACH)]
    assert found == [True] * (TICKETS * EACH - 1) + [False]
    assert EACH == ATTEMPTS, "a ticket has no more"
