"""DELETE leaves nothing of a ticket's text in any table, and all that was said of it, at whatever moment it comes."""

import hashlib
import json
from uuid import uuid4

import orjson
import pytest

from models import taxonomy
from models.db import transaction
from service.tickets.erasure import OPEN
from workers.arms import serve
from workers.claim import claim
from workers.figures import Figures
from workers.llm import Llm
from workers.record import Done, record

SAID = {"subject": "Zanzibar", "body": "I want a refund for Zanzibar", "external_id": "E-1"}
WHO = {"requester": "zoe@example.com", "channel": "zoe's phone", "language": "Zoenglish", "metadata": {"who": "zoe"}}
SECRETS = ("zanzibar", "zoe", "refund for")
VERDICT = {"field": "category", "label": "refunds", "source": "dataset"}


def everything(sql):
    """Every row of every table as text, bytes too."""
    tables = [name for (name,) in sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    rows = [row for table in tables for (row,) in sql(f"SELECT t::text FROM {table} t")]
    plain = [bytes.fromhex(raw).decode() for (raw,) in sql("SELECT encode(raw, 'hex') FROM tickets")]
    older = [bytes.fromhex(raw).decode() for (raw,) in sql("SELECT encode(raw, 'hex') FROM revisions")]
    return "\n".join(rows + plain + older).lower()


def fingerprints(*bodies):
    """What somebody who guesses the text could look for."""
    texts = [hashlib.sha256(orjson.dumps([SAID["subject"], body])).hexdigest() for body in bodies]
    return texts + [hashlib.sha256(json.dumps(SAID | WHO | {"body": body}).encode()).hexdigest() for body in bodies]


def post(client, body=SAID["body"], key="first"):
    raw = json.dumps(SAID | WHO | {"body": body}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    return client.post("/v1/tickets", content=raw, headers=headers)


def report(client):
    """All of the report's figures."""
    return {name: value for name, value in client.get("/v1/report").json().items() if name != "generated_at"}


def test_every_table_forgets_the_text_and_keeps_what_was_said(client, drain, sql):
    bodies = [SAID["body"], "zoe is back in Zanzibar"]
    for number, body in enumerate(bodies):
        url = post(client, body, f"key {number}").json()["url"]
        drain.run()
        client.post(f"{url}/verdicts", json=VERDICT)
    for found in (*SECRETS, *fingerprints(*bodies)):
        assert found in everything(sql), found
    before, counted = client.get(url).json(), report(client)
    assert client.get("/v1/tickets", params={"q": "zanzibar"}).json()["items"]
    answer = client.delete(url)
    assert (answer.status_code, answer.json()["status"]) == (200, "done")
    assert client.delete(url).json() == answer.json()
    assert [found for found in (*SECRETS, *fingerprints(*bodies)) if found in everything(sql)] == []
    empty = {"subject": "", "body": "", "requester": None, "channel": None, "language": None, "metadata": {}}
    assert client.get(url).json() == before | empty | {"erased_at": answer.json()["erased_at"]}
    assert (len(before["predictions"]), len(before["triage"]), len(before["verdicts"])) == (4, 2, 2)
    assert client.get("/v1/tickets", params={"q": "zanzibar"}).json()["items"] == []
    assert report(client) == counted
    assert counted["cascade"]["accuracy"][0]["n"] == 1


def test_others_are_left_as_they_are(client, drain, sql):
    other = client.post("/v1/tickets", json={"body": "other"}, headers={"Idempotency-Key": "other"}).json()
    url = post(client).json()["url"]
    drain.run()
    before = sql("SELECT t::text FROM tickets t WHERE body = 'other'"), client.get(other["url"]).json()
    client.delete(url)
    assert (sql("SELECT t::text FROM tickets t WHERE body = 'other'"), client.get(other["url"]).json()) == before
    assert sql("SELECT key, body_sha256 = '' FROM idempotency_keys ORDER BY key") == [("first", True), ("other", False)]


@pytest.mark.parametrize(("body", "key"), [(SAID["body"], "first"), (SAID["body"], "new"), ("other", "new")])
def test_sent_again_it_neither_counts_twice_nor_comes_back(client, drain, sql, body, key):
    first = post(client).json()
    drain.run()
    client.delete(first["url"])
    again = post(client, body, key)
    same = {"id": first["id"], "url": first["url"]}
    assert again.status_code == 202
    assert again.json() == (first if key == "first" else same | {"status": "done", "duplicate": True})
    assert sql("SELECT count(*), sum(run), sum(length(body)) FROM tickets") == [(1, 1, 0)]
    assert sql("SELECT count(*) FROM revisions") == [(0,)]


def test_under_its_idempotency_key_another_body_is_a_repeat(client, sql):
    first = post(client).json()
    client.delete(first["url"])
    assert post(client, "another body").json() == first
    assert sql("SELECT count(*) FROM tickets") == [(1,)]


def post_batch(client, *bodies, key="first"):
    tickets = [{"body": body, "external_id": body[:1]} for body in bodies]
    return client.post("/v1/tickets/batch", json={"tickets": tickets}, headers={"Idempotency-Key": key})


def test_under_a_batchs_key_another_number_of_tickets_is_refused_after_one_was_erased(client, sql):
    first = post_batch(client, "a", "b").json()
    client.delete(first["items"][1]["url"])
    assert post_batch(client, "a", "b").json() == first
    for other in (post_batch(client, "a"), post_batch(client, "c", "d", "e"), post(client)):
        assert other.status_code == 422
        assert "erased" in other.json()["detail"]
    assert post_batch(client, "c", "d", "e", key="new").status_code == 202
    assert sql("SELECT count(*) FROM tickets") == [(5,)]


def test_under_the_key_of_one_a_batch_is_refused_after_it_was_erased(client):
    client.delete(post(client).json()["url"])
    assert post_batch(client, "a", "b").status_code == 422
    assert post_batch(client, "a", "b", key="new").status_code == 202


def test_sent_again_under_a_new_key_its_hash_does_not_come_back(client, sql):
    client.delete(post(client).json()["url"])
    again = post(client, key="new").json()
    assert [found for found in (*SECRETS, *fingerprints(SAID["body"])) if found in everything(sql)] == []
    assert post(client, "another body", "new").json() == again


def test_in_a_batch_under_a_new_key_its_hash_does_not_come_back(client, sql):
    first = post_batch(client, "a", "b").json()["items"]
    client.delete(first[0]["url"])
    for key, bodies in {"with": ("c", "a", "b"), "without": ("b", "d")}.items():
        assert post_batch(client, *bodies, key=key).status_code == 202
    hashes = dict(sql("SELECT key, length(body_sha256) FROM idempotency_keys"))
    assert hashes == {"first": 0, "with": 0, "without": 32}


def test_one_that_waits_ends_without_an_llm(client, drain, sql, monkeypatch):
    url = post(client).json()["url"]
    asked = []
    monkeypatch.setattr(Llm, "ask", lambda llm, text, field, labels: asked.append(text))
    assert client.delete(url).json()["status"] == "done"
    drain.run()
    assert asked == []
    found = client.get(url).json()
    assert (found["status"], found["reason"], found["triage"], found["predictions"]) == ("done", OPEN, [], [])
    assert report(client)["tickets"] == {"received": 1, "queued": 0, "working": 0, "done": 1, "failed": 0}
    assert sql("SELECT done_at IS NOT NULL FROM tickets") == [(True,)]


def test_a_worker_that_holds_it_writes_nothing(client, database, llms, loaded, sql):
    url = post(client).json()["url"]
    batch = claim(database, 10)
    with transaction(database) as session:
        version, vocabulary = taxonomy.active(session)
    (ticket,) = batch.tickets
    result = Done(ticket, serve(llms, loaded.config, vocabulary, ticket))
    assert client.delete(url).json()["status"] == "done"
    assert record(database, batch.lease, version, [result], Figures()) == 0
    assert sql("SELECT status, lease_id, lease_until FROM tickets") == [("done", None, None)]
    assert sql("SELECT count(*) FROM triages") == sql("SELECT count(*) FROM predictions") == [(0,)]
    assert [found for found in SECRETS if found in everything(sql)] == []


@pytest.mark.parametrize("verb", ["reclassify", "requeue"])
@pytest.mark.parametrize("status", ["done", "failed"])
def test_it_never_comes_back_into_the_queue(client, drain, sql, verb, status):
    url = post(client).json()["url"]
    drain.run()
    sql("UPDATE tickets SET status = %s, last_error = 'refused'", status)
    assert client.delete(url).json()["status"] == status
    answer = client.post(f"{url}/{verb}")
    assert answer.status_code == 409
    assert "is erased, so there is nothing to classify" in answer.json()["detail"]
    assert sql("SELECT run, last_error FROM tickets") == [(1, "refused")]


def test_no_ticket_is_404_and_a_key_that_posts_may_not(client, new_key):
    assert client.delete(f"/v1/tickets/{uuid4()}").status_code == 404
    url = post(client).json()["url"]
    poster = {"Authorization": f"Bearer {new_key('tickets:write', 'tickets:read', 'verdicts:write')}"}
    assert client.delete(url, headers=poster).status_code == 403
    assert client.get(url).json()["body"] == SAID["body"]
