"""A batch from claim to rows with the real tiny llms: results once, errors counted right, nothing of a lost lease."""

import hashlib
import itertools
import json
import threading

import pytest
from serving import with_policy
from structlog.testing import capture_logs

from models import taxonomy
from models.db import transaction
from models.errors import EngineDown, EngineError, TicketRejected, Unavailable
from workers import settle
from workers.arms import serve
from workers.claim import claim
from workers.figures import Figures
from workers.llm import Llm
from workers.record import ATTEMPTS, Done, record

BODIES = ["My card has not arrived yet", "I want a refund", "tell me a joke", "why is my top up pending"]


def post(client, bodies=BODIES):
    answer = client.post("/v1/tickets/batch", json={"tickets": [{"body": body} for body in bodies]})
    return [item["id"] for item in answer.json()["items"]]


def counts(sql):
    return [sql(f"SELECT count(*) FROM {table}")[0][0] for table in ("predictions", "triages")]


@pytest.fixture
def failing(monkeypatch):
    """Makes an llm raise for texts with a word in them."""

    def fail(name, word, error):
        real = Llm.ask

        def ask(llm, text, field, labels):
            if name in (llm.name, "every llm") and word in text.text:
                raise error
            return real(llm, text, field, labels)

        monkeypatch.setattr(Llm, "ask", ask)

    return fail


def second_version(sql, document):
    """Stores another vocabulary, past what `store` refuses."""
    text = json.dumps(document)
    digest = hashlib.sha256(text.encode()).digest()
    sql("INSERT INTO taxonomy_versions (version, sha256, document) VALUES (2, %s, %s)", digest, text)


def test_every_ticket_has_its_predictions_and_one_triage(client, drain, sql):
    post(client)
    drain.run()
    assert counts(sql) == [8, 4]
    assert sql("SELECT DISTINCT status, lease_id, last_error FROM tickets") == [("done", None, None)]
    assert sql("SELECT count(*) FROM tickets WHERE queued_at <= claimed_at AND claimed_at <= done_at") == [(4,)]
    rows = sql("""SELECT t.body, d.label, d.confidence, p.label, p.confidence FROM tickets t
                  JOIN triages d ON d.ticket_id = t.id JOIN predictions p ON p.ticket_id = t.id
                  WHERE p.role = 'primary' AND d.llms = '{primary}'""")
    assert rows
    assert all(row[1:3] == row[3:5] for row in rows)


@pytest.mark.parametrize("threshold", [0.0, 0.9, 1.0])
def test_below_the_threshold_the_fallback_decides_too(client, drain, sql, threshold):
    post(client, [f"money {i} card top transfer" for i in range(20)])
    sql("UPDATE tickets SET shadow = true")
    drain.config = with_policy(drain.config, escalate_below=threshold)
    drain.run()
    rows = sql("""SELECT p.confidence, p.role, q.role, d.llms, d.calibrated, d.action FROM triages d
                  JOIN predictions p ON p.ticket_id = d.ticket_id AND p.role = 'primary'
                  JOIN predictions q ON q.ticket_id = d.ticket_id AND q.role <> 'primary'""")
    assert len(rows) == 20
    for confidence, _, second, llms, calibrated, action in rows:
        hard = confidence < threshold
        assert second == ("fallback" if hard else "shadow")
        assert llms == (["primary", "fallback"] if hard else ["primary"])
        assert not (hard and (calibrated or action != "review"))


def test_no_coin_no_shadow(client, drain, sql):
    post(client)
    sql("UPDATE tickets SET shadow = false")
    drain.run()
    assert sql("SELECT count(*) FROM predictions WHERE role = 'shadow'") == [(0,)]
    assert sql("SELECT count(*) FROM predictions WHERE role = 'primary'") == [(4,)]


@pytest.mark.parametrize("body", ["", "  \n ", "<p></p>", "\u200b\u200b"])
def test_an_empty_text_is_reviewed_without_asking_an_llm(client, drain, sql, body):
    post(client, [body])
    drain.run()
    assert sql("SELECT status FROM tickets") == [("done",)]
    assert sql("SELECT label, confidence, action, reason, decided_by, llms FROM triages") == [
        (None, None, "review", "empty", "rule", [])
    ]
    assert counts(sql) == [0, 1]


def test_an_engine_that_is_down_costs_no_attempt(client, drain, sql, failing):
    post(client)
    failing("every llm", "", EngineDown("away"))
    drain.run()
    rows = sql("SELECT status, attempts, lease_id, last_error, due_at > now() FROM tickets")
    assert rows == [("queued", 0, None, "away", True)] * 4
    assert counts(sql) == [0, 0]


@pytest.mark.parametrize("error", [TicketRejected("too long"), EngineError("rubbish")])
def test_a_ticket_that_the_engine_refuses_fails_alone_after_its_attempts(client, drain, sql, failing, error):
    post(client)
    failing("every llm", "joke", error)
    for attempt in range(1, ATTEMPTS + 1):
        drain.run()
        ((status, attempts, reason),) = sql("SELECT status, attempts, last_error FROM tickets WHERE body LIKE '%%joke'")
        assert (attempts, reason) == (attempt, error.message)
        assert status == ("queued" if attempt < ATTEMPTS else "failed")
        sql("UPDATE tickets SET due_at = now() WHERE status = 'queued'")
    assert sql("SELECT count(*) FROM tickets WHERE status = 'done'") == [(3,)]
    assert counts(sql) == [6, 3]


def test_what_one_llm_refuses_waits_while_another_that_may_answer_is_away(client, drain, sql, failing):
    failing("primary", "joke", EngineError("it has no words for this"))
    failing("fallback", "", EngineDown("the fallback is away"))
    post(client, ["tell me a joke"])
    drain.run()
    assert sql("SELECT status, attempts, last_error FROM tickets") == [("queued", 0, "the fallback is away")]


@pytest.mark.parametrize("error", [EngineDown("away"), TicketRejected("too long")])
def test_a_silent_fallback_costs_the_ticket_nothing(client, drain, sql, failing, error):
    post(client)
    drain.config = with_policy(drain.config, escalate_below=1.0)
    failing("fallback", "", error)
    drain.run()
    assert sql("SELECT DISTINCT status FROM tickets") == [("done",)]
    assert counts(sql) == [4, 4]
    rows = sql("SELECT DISTINCT reason, action, llms FROM triages")
    assert rows == [("escalated_without_fallback", "review", ["primary"])]


def test_a_bug_that_one_ticket_brings_out_is_that_tickets_attempt(client, drain, sql, failing):
    post(client)
    failing("primary", "joke", ZeroDivisionError())
    drain.run()
    assert sql("SELECT status, attempts, last_error FROM tickets WHERE status <> 'done'") == [
        ("queued", 1, "The worker failed with ZeroDivisionError; its log has the details.")
    ]
    assert counts(sql) == [6, 3]


def test_a_lost_lease_writes_nothing(client, drain, sql, database, llms, loaded):
    post(client)
    batch = claim(database, 10)
    with transaction(database) as session:
        version, vocabulary = taxonomy.active(session)
    results = [Done(t, serve(llms, loaded.config, vocabulary, t)) for t in batch.tickets]
    sql("UPDATE tickets SET lease_until = now() - interval '1 second' WHERE id <> %s", results[0].ticket.id)
    drain.run()  # another worker takes the three
    assert counts(sql) == [6, 3]
    assert record(database, batch.lease, version, results, Figures()) == 1
    assert counts(sql) == [8, 4]
    assert record(database, batch.lease, version, results, Figures()) == 0
    assert counts(sql) == [8, 4]


def test_new_content_while_a_ticket_is_scored_wins(client, drain, sql, database, llms, loaded):
    given = {"body": "I want a refund", "external_id": "1"}
    client.post("/v1/tickets", json=given)
    batch = claim(database, 10)
    client.post("/v1/tickets", json=given | {"body": "my top up failed"})
    with transaction(database) as session:
        version, vocabulary = taxonomy.active(session)
    (ticket,) = batch.tickets
    result = Done(ticket, serve(llms, loaded.config, vocabulary, ticket))
    assert record(database, batch.lease, version, [result], Figures()) == 0
    drain.run()
    assert sql("SELECT run, label FROM triages") == [(2, "top_up")]


def test_two_drains_share_the_queue_and_double_nothing(client, drain, sql, database, llms, loaded):
    post(client, [f"question {i} about my card" for i in range(200)])
    other = type(drain)(database, llms, loaded.config, 4)
    threads = [threading.Thread(target=one.run) for one in (drain, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.pool.shutdown()
    assert sql("SELECT DISTINCT status FROM tickets") == [("done",)]
    assert counts(sql) == [400, 200]


def test_a_stopped_drain_gives_back_what_it_has_not_begun(client, drain, sql, monkeypatch):
    post(client, [f"question {i}" for i in range(40)])
    real = drain._score
    begun = threading.Event()

    def score(vocabulary, ticket):
        begun.set()
        drain.stop()
        return real(vocabulary, ticket)

    monkeypatch.setattr(drain, "_score", score)
    drain.run()
    assert begun.is_set()
    rows = dict(sql("SELECT status, count(*) FROM tickets GROUP BY 1"))
    assert rows.get("working") is None
    assert rows["queued"] >= 30
    assert sql("SELECT max(attempts) FROM tickets") == [(0,)]
    assert counts(sql)[1] == rows.get("done", 0)


@pytest.fixture
def away(monkeypatch):
    """Postgres is away for one kind of write, as often as is told, or for ever; `during` is called each time."""
    monkeypatch.setattr(settle, "FIRST_AGAIN_S", 0.001)
    monkeypatch.setattr(settle, "AGAIN_S", 0.001)

    def make(write, times=None, during=lambda: None):
        real, left = getattr(settle, write), itertools.count() if times is None else iter(range(times))

        def broken(*given, **named):
            for _ in left:
                during()
                raise Unavailable("away")
            return real(*given, **named)

        monkeypatch.setattr(settle, write, broken)

    return make


OUTAGES = [
    ("record", None, [("done", 0, 0, 4)]),
    ("reject", TicketRejected("too long"), [("done", 0, 0, 3), ("queued", 1, 0, 1)]),
    ("give_back", EngineDown("away"), [("done", 0, 0, 3), ("queued", 0, 0, 1)]),
]


@pytest.mark.parametrize(("write", "error", "rows"), OUTAGES, ids=[outage[0] for outage in OUTAGES])
def test_what_cannot_be_written_is_kept_until_postgres_is_back(client, drain, sql, away, failing, write, error, rows):
    post(client)
    if error is not None:
        failing("every llm", "joke", error)
    away(write, times=50)
    with capture_logs() as lines:
        drain.run()
    states = "SELECT status, attempts, lost_leases, count(*) FROM tickets GROUP BY 1, 2, 3 ORDER BY 1"
    assert sql(states) == rows
    assert counts(sql) == [2 * rows[0][-1], rows[0][-1]]
    assert [line["event"] for line in lines].count("drain.postgres_away") == 1


def test_what_postgres_does_not_take_is_kept_no_longer_than_its_lease(client, drain, sql, away, monkeypatch):
    monkeypatch.setattr("workers.claim.LONGEST_S", 0.0)
    post(client)
    away("record")
    drain.run()
    assert sql("SELECT status, count(*) FROM tickets GROUP BY 1") == [("working", 4)]


def test_a_worker_that_is_told_to_stop_waits_no_longer_for_postgres(client, drain, sql, away, monkeypatch):
    monkeypatch.setattr("workers.stop.FINISH_S", 0.0)
    post(client)
    away("record", during=drain.stop)
    drain.run()
    assert sql("SELECT status, count(*) FROM tickets GROUP BY 1") == [("working", 4)]


def test_a_taxonomy_that_the_llm_does_not_know_is_said_and_loses_nothing(client, drain, sql):
    ((document,),) = sql("SELECT document FROM taxonomy_versions")
    document["fields"]["category"]["labels"].append({"id": "dragons", "title": "", "description": ""})
    second_version(sql, document)
    post(client, BODIES[:1])
    drain.run()
    ((status, attempts, error),) = sql("SELECT status, attempts, last_error FROM tickets")
    assert (status, attempts) == ("queued", 0)
    assert "dragons" in error


def test_fewer_labels_than_calibrated_is_uncalibrated(client, drain, sql):
    ((document,),) = sql("SELECT document FROM taxonomy_versions")
    labels = document["fields"]["category"]["labels"]
    document["fields"]["category"]["labels"] = [label for label in labels if label["id"] in ("refunds", "top_up")]
    second_version(sql, document)
    post(client, ["I want a refund"])
    drain.run()
    rows = sql("SELECT label, calibrated, action, taxonomy_version FROM triages")
    assert rows == [("refunds", False, "review", 2)]
    assert sql("SELECT DISTINCT calibrated FROM predictions") == [(False,)]


def test_a_worker_whose_calls_all_hang_claims_nothing(llms, monkeypatch):
    assert llms.ready()
    for engine in llms.engines:
        monkeypatch.setattr(engine, "open_breaker", lambda llm: "It hangs.")
    assert not llms.ready()
