"""A request has an id: in its answer and in every line of the log; and no line has what a ticket says."""

import io
import json
import logging
import re
import sys
from collections import defaultdict

import pytest
import structlog
from serving import serving

from service.logs import configure
from service.outage import Outage
from service.queue import TaskName, celery_app
from service.settings import Settings
from workers.runtime import Runtime
from workers.tasks import register

SECRET = "my card has a hole"


@pytest.fixture
def lines(monkeypatch):
    """The process logs as in production; gives what was logged so far, line by line."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("service", "workers", "models")}
    configure(Settings(_env_file=None, log_level="debug", log_format="json"))
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:], root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def test_a_sane_id_is_kept_and_any_other_is_made_anew(client):
    assert client.get("/healthz", headers={"X-Request-ID": "proxy-7:a.b_c"}).headers["x-request-id"] == "proxy-7:a.b_c"
    made = set()
    for odd in ("", "x" * 65, "a b", 'a"b', "a=b", "\xe9".encode("latin-1"), "{}"):
        answer = client.get("/healthz", headers={"X-Request-ID": odd})
        assert len(answer.headers.get_list("x-request-id")) == 1
        made.add(answer.headers["x-request-id"])
    assert len(made) == 7
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in made)


@pytest.mark.parametrize("path", ["/v1/tickets", "/nowhere", "/login", "/v1/hooks/nobody"])
def test_every_answer_has_one(client, path):
    assert client.get(path, headers={"Host": "stranger"}).headers["x-request-id"]
    assert client.get(path).headers["x-request-id"]


def test_lines_of_a_request_carry_its_id_and_its_tickets_and_no_text(loaded, new_key, lines):
    with serving(loaded) as client:
        headers = {"Authorization": f"Bearer {new_key('tickets:write')}", "X-Request-ID": "mine-1"}
        ticket = client.post("/v1/tickets", json={"body": SECRET}, headers=headers).json()["id"]
        client.post("/v1/tickets", json={"body": SECRET}, headers={"X-Request-ID": "mine-2"})
    told = lines()
    assert [line["tickets"] for line in told if line.get("request") == "mine-1"] == [[ticket]]
    assert [line["event"] for line in told if line.get("request") == "mine-2"] == ["refused"]
    assert SECRET not in json.dumps(told)


def test_the_writers_lines_are_of_no_request_and_say_where_it_failed_but_not_what(client, monkeypatch, lines):
    async def broken(*given):
        raise ValueError(SECRET)

    monkeypatch.setattr("service.intake.writer.write", broken)
    answer = client.post("/v1/tickets", json={"body": SECRET}, headers={"X-Request-ID": "mine-4"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine-4")
    (told,) = [line for line in lines() if line["event"] == "door.refused"]
    assert (told["error"], told["tickets"], "request" in told) == ("ValueError", 1, False)
    assert "in broken" in told["exception"]
    assert SECRET not in json.dumps(lines())


def test_a_mistake_of_ours_has_the_id_and_where_it_happened_but_not_what_it_says(client, monkeypatch, lines):
    async def broken(*given):
        raise ValueError(SECRET) from KeyError(SECRET)

    monkeypatch.setattr("service.auth.known.Keys.caller", broken)
    answer = client.get("/v1/taxonomy", headers={"X-Request-ID": "mine-3"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine-3")
    told = [line for line in lines() if line["event"] == "request.failed"]
    assert [line["request"] for line in told] == ["mine-3"]
    trace = told[0]["exception"]
    assert trace.index("KeyError") < trace.index("ValueError")
    assert "in broken" in trace
    assert SECRET not in json.dumps(told)


def test_a_workers_lines_about_a_ticket_carry_its_id(client, drain, sql, monkeypatch, lines):
    ids = [client.post("/v1/tickets", json={"body": body}).json()["id"] for body in (SECRET, "I want a refund")]
    real = drain._score

    def score(vocabulary, ticket):
        if ticket.body == SECRET:
            raise ValueError(SECRET)
        return real(vocabulary, ticket)

    monkeypatch.setattr(drain, "_score", score)
    drain.run()
    told = lines()
    for event, expected in {"classify.failed": "ticket", "ticket.refused": "ticket"}.items():
        assert [line[expected] for line in told if line["event"] == event] == ids[:1]
    assert [line["tickets"] for line in told if line["event"] == "tickets.recorded"] == [ids[1:]]
    assert SECRET not in json.dumps(told)


def celery_over(work, loaded):
    """Our task over a runtime that does this work, and a task of which Celery itself sees the error."""
    app = celery_app(loaded.settings.urls()[1])
    runtime = object.__new__(Runtime)
    runtime.work = work
    runtime.outages = defaultdict(Outage)
    register(app, runtime)
    return app.tasks[TaskName.CLASSIFY_DUE], app.task(work, name="plain", shared=False)


def test_no_line_of_a_failed_task_has_what_the_error_says(loaded, lines):
    def work():
        raise ValueError(SECRET) from KeyError(SECRET)

    ours, plain = celery_over(work, loaded)
    assert ours.apply().successful()
    assert plain.apply().failed()
    mine, celerys = lines()
    assert (mine["event"], mine["error"], mine["what"]) == ("failed", "ValueError", "work")
    assert celerys["event"] == "A task failed: ValueError"
    assert all("in work" in line["exception"] for line in (mine, celerys))
    assert SECRET not in json.dumps([mine, celerys])


def test_a_mistake_that_comes_again_after_it_worked_is_told_again(lines):
    runtime = object.__new__(Runtime)
    runtime.outages = defaultdict(Outage)
    outcomes = iter([ValueError(SECRET), ValueError(SECRET), None, ValueError(SECRET)])

    def work():
        if (error := next(outcomes)) is not None:
            raise error

    for _ in range(4):
        runtime.attempt(work)
    assert [line["event"] for line in lines()] == ["failed", "works.again", "failed"]


def test_a_lost_worker_is_told_with_the_ticket(client, drain, sql, lines):
    ticket = client.post("/v1/tickets", json={"body": SECRET}).json()["id"]
    sql("UPDATE tickets SET status = 'working', lease_id = id, lease_until = now() - interval '1 second'")
    drain.run()
    assert [line["tickets"] for line in lines() if line["event"] == "lease.expired"] == [{ticket: 1}]
