"""GET /metrics says what this API process took and refused: each new ticket is a row, each refusal counts once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from processes import eventually
from serving import serving
from structlog.testing import capture_logs
from test_metrics import scrape, value, values

from service.intake.door import Door

BODY = {"external_id": "1", "body": "my card"}
TWICE = BODY | {"external_id": "2"}


def tickets(client):
    return {outcome: n for (outcome,), n in values(scrape(client), "triage_intake_tickets_total", "outcome").items()}


def refused(client):
    """Reason -> how often, without what never was."""
    found = values(scrape(client), "triage_intake_refused_total", "reason")
    return {reason: n for (reason,), n in found.items() if n}


@pytest.fixture
def send(client):
    """Posts one ticket or what is given, and gives the status."""

    def post(body=None, path="", **options):
        return client.post(f"/v1/tickets{path}", **({"json": body or BODY} | options)).status_code

    return post


def test_all_reasons_and_outcomes_are_there_before_the_first(client):
    families = scrape(client)
    assert values(families, "triage_intake_tickets_total", "outcome") == {("new",): 0, ("repeated",): 0}
    assert set(values(families, "triage_intake_refused_total", "reason").values()) == {0}
    assert value(families, "triage_intake_pending") == 0


def test_new_tickets_are_rows_and_repeats_are_none(client, send, sql):
    key = {"Idempotency-Key": "k"}
    assert [send(), send(), send(BODY | {"body": "my other card"})] == [202] * 3
    assert [send({"body": "keyed"}, headers=key) for _ in range(2)] == [202] * 2
    batch = {"tickets": [{"body": "of a batch"}, TWICE, TWICE, BODY, {"subject": "no body"}, 7]}
    assert [send(batch, "/batch"), send(batch, "/batch", headers={"Idempotency-Key": "b"})] == [202] * 2
    assert tickets(client) == {"new": 5, "repeated": 8}
    assert sql("SELECT count(*) FROM tickets") == [(5,)]
    assert refused(client) == {"bad": 4}


def test_what_is_wrong_is_bad_and_who_may_not_is_unauthorized(client, send, sql, new_key):
    assert send(content=b"{", json=None, headers={"Content-Type": "application/json"}) == 400
    assert send(content=b"x", json=None) == 415
    assert send({"subject": "no body"}) == 422
    assert send({"tickets": []}, "/batch") == 422
    assert send({"tickets": [BODY]}, "/batch", headers={"Idempotency-Key": "k" * 300}) == 422
    assert refused(client) == {"bad": 5}
    assert send(headers={"Authorization": "Bearer wrong"}) == 401
    assert send(headers={"Authorization": f"Bearer {new_key('tickets:read')}"}) == 403
    assert send({"tickets": [BODY]}, "/batch", headers={"Authorization": ""}) == 401
    assert client.post("/v1/hooks/nobody", json={}).status_code == 401
    assert refused(client) == {"bad": 5, "unauthorized": 4}
    assert tickets(client) == {"new": 0, "repeated": 0}
    assert sql("SELECT count(*) FROM tickets") == [(0,)]


def test_what_brings_no_ticket_is_not_counted(client):
    assert client.get("/v1/tickets/0190b6c2-93a1-7000-8000-000000000000").status_code == 404
    assert client.post("/v1/tickets/0190b6c2-93a1-7000-8000-000000000000/verdicts", json={}).status_code == 422
    assert client.get("/v1/tickets", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert refused(client) == {}


def test_an_address_with_too_many_bad_keys_has_a_reason_of_its_own(client, send, monkeypatch):
    monkeypatch.setattr("service.failures.MOST", 1)
    assert [send(headers={"Authorization": f"Bearer {i}"}) for i in range(2)] == [401, 429]
    assert refused(client) == {"unauthorized": 1, "failed_keys": 1}


def test_a_full_queue_and_full_writing_are_told_apart(loaded, new_key, monkeypatch):
    small = loaded.model_copy(update={"settings": loaded.settings.model_copy(update={"queue_limit": 1})})
    with serving(small) as client:
        client.headers["Authorization"] = f"Bearer {new_key('admin')}"
        assert client.post("/v1/tickets/batch", json={"tickets": [BODY, {"body": "x"}, 7]}).status_code == 429
        assert refused(client) == {"queue_full": 1}
        monkeypatch.setattr("service.intake.door.PENDING", 0)
        assert client.post("/v1/tickets", json=BODY).status_code == 429
        assert refused(client) == {"queue_full": 1, "writing_full": 1}


def test_without_postgres_and_after_a_mistake_of_ours(client, send, monkeypatch):
    async def broken(error, *given):
        raise error

    for error, status in ((OSError(), 503), (KeyError(), 500)):
        monkeypatch.setattr("service.intake.writer.write", lambda *given, error=error: broken(error))
        assert send() == status
    monkeypatch.undo()
    assert refused(client) == {"unavailable": 1, "failed": 1}
    assert send() == 202
    assert tickets(client) == {"new": 1, "repeated": 0}


def test_what_breaks_outside_of_our_errors_is_counted_too(client, send, monkeypatch):
    monkeypatch.setattr("service.api.tickets_in.validate", lambda value: 1 / 0)
    ends = {"Connection": "close"}  # as the server does after such an answer, whatever is sent meanwhile
    with capture_logs():
        assert send(headers=ends) == send({"tickets": [BODY]}, "/batch", headers=ends) == 500
    assert refused(client) == {"failed": 2}


def test_who_waits_to_be_written_is_pending(client, send, monkeypatch):
    with ThreadPoolExecutor(3) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(Door, "_begin", lambda door: None)
            posts = [pool.submit(send, {"body": f"card {i}"}) for i in range(3)]
            eventually(lambda: value(scrape(client), "triage_intake_pending") == 3)
            assert tickets(client) == {"new": 0, "repeated": 0}
        assert send() == 202  # it wakes a writer, for those before it too
        assert [post.result() for post in posts] == [202] * 3
    assert value(scrape(client), "triage_intake_pending") == 0
    assert tickets(client) == {"new": 4, "repeated": 0}
