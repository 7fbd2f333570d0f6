"""What a worker counts is what Postgres has taken: never a result that was refused, or whose lease was lost."""

import json
from contextlib import contextmanager
from uuid import uuid4

import pytest

from models import taxonomy
from models.db import transaction
from models.errors import EngineDown, EngineError, TicketRejected, Unavailable
from workers.arms import serve
from workers.claim import claim
from workers.engines.llamacpp import LlamaCpp
from workers.figures import Figures
from workers.record import Done, record, reject

BODIES = ["My card has not arrived yet", "I want a refund", "tell me a joke", "why is my top up pending", ""]


@pytest.fixture
def counted(drain, llms, monkeypatch):
    """The figures of a worker that has counted nothing yet."""
    figures = drain.figures = drain.settling.figures = Figures()
    for llm in llms.all.values():
        monkeypatch.setattr(llm, "figures", figures)
    return figures


def post(client):
    answer = client.post("/v1/tickets/batch", json={"tickets": [{"body": body} for body in BODIES]})
    assert answer.status_code == 202


def samples(figures):
    """(name, values of its labels in the order of their names) -> value, without what is 0."""
    families = json.loads(json.dumps(figures.dump())).values()
    found = [sample for family in families for sample in family["samples"]]
    return {(name, *(labels[key] for key in sorted(labels))): value for name, labels, value in found if value}


def of(figures, name):
    return {key[1:]: value for key, value in samples(figures).items() if key[0] == name}


def total(figures, name):
    return sum(of(figures, name).values())


def agrees(figures, sql):
    """Whether all counts are those of the tables."""
    answers = sql("SELECT v.name, p.reason, p.role, count(*) FROM predictions p"
                  " JOIN llm_versions v ON v.id = p.llm_version_id GROUP BY 1, 2, 3")  # fmt: skip
    assert of(figures, "triage_answers_total") == {(llm, reason, role): n for llm, reason, role, n in answers}
    actions = sql("SELECT action, field, count(*) FROM triages GROUP BY 1, 2")
    assert of(figures, "triage_decisions_total") == {(action, field): n for action, field, n in actions}
    ((done,),) = sql("SELECT count(DISTINCT (ticket_id, run)) FROM triages")
    assert total(figures, "triage_ticket_wait_seconds_count") == done
    assert total(figures, "triage_ticket_time_to_label_seconds_count") == done
    return done


def test_a_new_worker_has_counted_nothing():
    assert samples(Figures()) == {}


def test_what_is_recorded_is_counted(client, drain, sql, counted):
    post(client)
    drain.run()
    assert agrees(counted, sql) == len(BODIES)
    assert total(counted, "triage_leases_lost_total") == total(counted, "triage_attempts_refused_total") == 0
    assert of(counted, "triage_llm_failures_total") == of(counted, "triage_llm_in_flight") == {}


def test_a_lost_lease_counts_nothing(client, drain, sql, counted, database, llms, loaded):
    post(client)
    batch = claim(database, 10)
    with transaction(database) as session:
        version, vocabulary = taxonomy.active(session)
    results = [Done(ticket, serve(llms, loaded.config, vocabulary, ticket)) for ticket in batch.tickets]
    sql("UPDATE tickets SET lease_until = now() - interval '1 second' WHERE id <> %s", results[0].ticket.id)
    drain.run()  # another worker takes the four
    assert agrees(counted, sql) == 4
    late = Figures()
    assert record(database, batch.lease, version, results, late) == 1
    assert total(late, "triage_decisions_total") == total(late, "triage_ticket_wait_seconds_count") == 1
    assert record(database, batch.lease, version, results, late) == 0
    reject(database, batch.lease, results[1].ticket, "too late", late)
    assert total(late, "triage_decisions_total") == 1
    assert total(late, "triage_attempts_refused_total") == 0


def test_results_that_come_too_late_are_counted_as_lost(client, drain, sql, counted, monkeypatch):
    post(client)
    real = drain._score

    def score(vocabulary, ticket):
        sql("UPDATE tickets SET lease_id = %s WHERE id = %s", uuid4(), ticket.id)
        return real(vocabulary, ticket)

    monkeypatch.setattr(drain, "_score", score)
    drain.run()
    assert total(counted, "triage_leases_lost_total") == len(BODIES)
    assert agrees(counted, sql) == 0


def test_a_result_that_postgres_refuses_is_not_counted(client, drain, sql, counted):
    post(client)
    ((bad,),) = sql("SELECT id FROM tickets WHERE body LIKE '%%joke'")
    sql(f"ALTER TABLE triages ADD CONSTRAINT refused CHECK (ticket_id <> '{bad}')")
    drain.run()
    assert agrees(counted, sql) == len(BODIES) - 1
    assert [(total(counted, "triage_attempts_refused_total"),)] == sql("SELECT sum(attempts) FROM tickets") == [(1,)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(TicketRejected("long"), "rejected"), (EngineDown("away"), "down"), (EngineError("x"), "failed")],
)
def test_a_call_without_an_answer_is_counted_by_llm_and_kind(client, drain, sql, counted, monkeypatch, error, kind):
    post(client)
    real, seen = LlamaCpp.score, []

    def score(engine, llm, prompt, codes):
        seen.append(of(counted, "triage_llm_in_flight")[(llm,)])
        if "joke" in prompt:
            raise error
        return real(engine, llm, prompt, codes)

    monkeypatch.setattr(LlamaCpp, "score", score)
    drain.run()
    failed = int(kind != "down")
    assert sql("SELECT sum(attempts) FROM tickets") == [(failed,)]
    assert total(counted, "triage_attempts_refused_total") == failed
    assert of(counted, "triage_llm_failures_total") == {(kind, llm): 1 for llm in ("primary", "fallback")}
    assert seen
    assert all(1 <= n <= drain.llms.parallel for n in seen)
    assert of(counted, "triage_llm_in_flight") == {}
    assert agrees(counted, sql) == len(BODIES) - 1


def test_a_commit_that_nobody_answered_is_counted_once_and_loses_no_lease(client, drain, sql, counted, monkeypatch):
    import workers.record as room

    post(client)
    lost = iter([Unavailable("the connection broke after the commit")] * 2)

    @contextmanager
    def deaf(engine):
        with transaction(engine) as session:
            yield session
        for error in lost:
            raise error

    monkeypatch.setattr(room, "transaction", deaf)
    drain.run()
    assert next(lost, None) is None
    assert agrees(counted, sql) == len(BODIES)
    assert total(counted, "triage_leases_lost_total") == 0


def test_a_write_that_was_rolled_back_is_written_again(client, drain, sql, counted, monkeypatch):
    import workers.record as room

    post(client)
    lost = iter([Unavailable("the connection broke before the commit")])

    @contextmanager
    def broken(engine):
        with transaction(engine) as session:
            yield session
            for error in lost:
                raise error

    monkeypatch.setattr(room, "transaction", broken)
    drain.run()
    assert next(lost, None) is None
    assert agrees(counted, sql) == len(BODIES)
    assert total(counted, "triage_leases_lost_total") == 0
