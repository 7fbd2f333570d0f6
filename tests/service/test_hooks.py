"""POST /v1/hooks/{connection}: signed tickets come in, everything else is the same 401."""

import hashlib
import hmac
import json

import pytest
from serving import serving

CONNECTIONS = [
    {
        "name": "crm",
        "kind": "generic",
        "signature": {"scheme": "hmac-sha256", "encoding": "hex", "header": "X-Signature", "secret_env": "CRM_SECRET"},
        "ignore_when": "kind == 'test'",
        "map": {"external_id": "ticket.id", "subject": "ticket.title", "body": "ticket.text"},
    }
]
PAYLOAD = {"ticket": {"id": 7, "title": "Card", "text": "It has not arrived"}}


@pytest.fixture
def hook(loaded, monkeypatch):
    """The API with one connection, and a function that posts a signed payload to it."""
    monkeypatch.setenv("CRM_SECRET", "s3cret")
    config = loaded.config.model_copy(update={"connections": CONNECTIONS})
    with serving(loaded.model_copy(update={"config": config})) as client:

        def post(payload, name="crm", secret=b"s3cret"):
            raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            signed = hmac.new(secret, raw, hashlib.sha256).hexdigest()
            return client.post(f"/v1/hooks/{name}", content=raw, headers={"X-Signature": signed})

        post.client = client
        yield post


def test_a_signed_ticket_is_a_row(hook, sql):
    answer = hook(PAYLOAD)
    assert answer.status_code == 200
    rows = sql("SELECT id::text, source, external_id, subject, body, raw FROM tickets")
    assert rows == [(answer.json()["id"], "crm", "7", "Card", "It has not arrived", json.dumps(PAYLOAD).encode())]


def test_the_same_event_twice_is_one_ticket_and_an_edit_is_a_run(hook, sql):
    assert hook(PAYLOAD).json()["id"] == hook(PAYLOAD).json()["id"]
    hook({"ticket": PAYLOAD["ticket"] | {"text": "It has arrived"}})
    assert sql("SELECT run, body FROM tickets") == [(2, "It has arrived")]


def test_unknown_connection_and_bad_signature_are_the_same_answer(hook, sql):
    bad, unknown = hook(PAYLOAD, secret=b"other"), hook(PAYLOAD, name="nobody")
    unsigned = hook.client.post("/v1/hooks/crm", json=PAYLOAD)
    assert bad.status_code == unknown.status_code == unsigned.status_code == 401
    assert bad.content == unknown.content == unsigned.content
    assert sql("SELECT count(*) FROM tickets") == [(0,)]


def test_ignored_events_say_so(hook, sql):
    answer = hook({"kind": "test"})
    assert (answer.status_code, answer.json()["status"]) == (200, "ignored")
    assert sql("SELECT count(*) FROM tickets") == [(0,)]


def test_signed_nonsense_is_refused(hook):
    assert hook(b"{").status_code == 400
    assert hook({"ticket": {}}).status_code == 422
    assert hook({"ticket": PAYLOAD["ticket"] | {"id": "x" * 256}}).status_code == 422


@pytest.mark.parametrize("name", ["crm", "nobody"])
def test_helpdesks_may_look_first(hook, name):
    assert hook.client.get(f"/v1/hooks/{name}").status_code == 200
    assert hook.client.head(f"/v1/hooks/{name}").status_code == 200


def test_broken_text_from_a_helpdesk_is_repaired(hook, sql):
    assert hook(b'{"ticket": {"id": 1, "text": "a\\u0000b\\ud800"}}').status_code == 200
    assert sql("SELECT body, repaired FROM tickets") == [("a\ufffdb\ufffd", True)]
