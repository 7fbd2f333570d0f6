"""Whatever the OpenAPI document allows, and much that it forbids: no operation answers 5xx; every error is a problem.

The answers to forbidden requests show what the document promises: they are refused with a sentence, not by accident.
"""

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

FEW = hypothesis.settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(HealthCheck),
)
PROBLEM = {"type": str, "title": str, "status": int, "detail": str}
WAIT_S = "0.01"


@pytest.fixture
def operations(client):
    """Every operation of the document that this service gives."""
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


@pytest.fixture
def send(client):
    """Sends a generated request with a good key, mostly about a ticket that there is."""
    ticket = client.post("/v1/tickets", json={"body": "I want a refund"}).json()["id"]

    def answer(case, allowed):
        if allowed and "ticket_id" in (case.path_parameters or {}):
            case.path_parameters["ticket_id"] = ticket
        if "wait" in (case.query or {}) and (allowed or str(case.query["wait"]).replace(".", "").isdigit()):
            case.query["wait"] = WAIT_S
        call = case.as_transport_kwargs(base_url=str(client.base_url))
        call.pop("cookies")
        if isinstance(call.get("data"), bytes | str):
            call["content"] = call.pop("data")
        call["headers"] = {name: value for name, value in call["headers"].items() if name.lower() != "authorization"}
        return client.request(**call)

    return answer


def assert_good(answer, told):
    assert answer.status_code < 500, told
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", told
        problem = answer.json()
        assert {name: type(problem.get(name)) for name in PROBLEM} == PROBLEM, told
        assert (problem["status"], bool(problem["detail"])) == (answer.status_code, True), told


def called(operation, send, mode):
    """Sends some requests of an operation; the statuses, which are none where nothing could be forbidden."""
    seen = []

    @FEW
    @given(operation.as_strategy(generation_mode=mode))
    def calls(case):
        answer = send(case, mode is GenerationMode.POSITIVE)
        assert_good(answer, f"{operation.label} {case.query} {case.body!r:.300}: {answer.status_code} {answer.text}")
        seen.append(answer.status_code)

    try:
        calls()
    except Unsatisfiable:
        assert not seen or mode is GenerationMode.NEGATIVE
    return seen


def test_what_the_document_allows_is_never_our_failure(operations, send):
    found = {label: called(operation, send, GenerationMode.POSITIVE) for label, operation in operations.items()}
    assert {"POST /v1/tickets", "POST /v1/tickets/batch", "GET /v1/tickets", "GET /v1/report"} <= found.keys()
    assert all(found.values())
    assert 202 in found["POST /v1/tickets"]
    assert 200 in found["DELETE /v1/tickets/{ticket_id}"]


def test_what_the_document_forbids_is_refused_by_a_problem(operations, send):
    found = {label: called(operation, send, GenerationMode.NEGATIVE) for label, operation in operations.items()}
    assert sum(bool(statuses) for statuses in found.values()) >= 8
    assert set(found["POST /v1/tickets"]) <= {202, 400, 405, 415, 422}
    assert 422 in found["POST /v1/tickets"]
