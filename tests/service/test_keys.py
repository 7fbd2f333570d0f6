"""Everything needs a key with the right scope; a key is kept as SHA-256 and ends within its cache time."""

import hashlib

import pytest

from models.db import transaction
from service.auth import known
from service.auth.keys import Scope, create_key, revoke_key
from service.config import IMPLIED

NO_TICKET = "01a1feef-60f3-7010-b789-e50222ae6516"
ROUTES = [
    ("POST", "/v1/tickets", Scope.TICKETS_WRITE, 415),
    ("POST", "/v1/tickets/batch", Scope.TICKETS_WRITE, 415),
    ("GET", "/v1/tickets", Scope.TICKETS_READ, 200),
    ("GET", "/v1/tickets/01a1feef-60f3-7010-b789-e50222ae6516", Scope.TICKETS_READ, 404),
    ("POST", "/v1/tickets/01a1feef-60f3-7010-b789-e50222ae6516/verdicts", Scope.VERDICTS_WRITE, 415),
    ("POST", f"/v1/tickets/{NO_TICKET}/reclassify", Scope.TICKETS_WRITE, 404),
    ("POST", f"/v1/tickets/{NO_TICKET}/requeue", Scope.TICKETS_WRITE, 404),
    ("DELETE", f"/v1/tickets/{NO_TICKET}", Scope.ADMIN, 404),
    ("GET", "/v1/taxonomy", Scope.TICKETS_READ, 200),
    ("GET", "/v1/llms", Scope.TICKETS_READ, 200),
    ("GET", "/v1/report", Scope.REPORTS_READ, 200),
    ("GET", "/v1/experiments", Scope.REPORTS_READ, 200),
    ("GET", f"/v1/experiments/{IMPLIED}/report", Scope.REPORTS_READ, 200),
    ("GET", "/metrics", Scope.REPORTS_READ, 200),
]
OPEN = {"/healthz", "/readyz", "/v1/hooks/{connection}"}  # hooks are signed


@pytest.mark.parametrize(("method", "path", "scope", "status"), ROUTES)
def test_every_route_needs_its_scope(client, new_key, method, path, scope, status):
    def call(authorization):
        return client.request(method, path, headers={"Authorization": authorization})

    good = new_key(scope)
    others = new_key(*(set(Scope) - {scope, Scope.ADMIN}))
    assert call(f"Bearer {good}").status_code == status
    assert call(f"bearer {good}").status_code == status
    assert call(f"Bearer {others}").status_code == 403
    for wrong in ("", "Bearer", "Bearer nonsense", f"Basic {good}", f"Bearer {good}x", "Bearer \u00e9"):
        answer = call(wrong.encode())
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert good not in answer.text


def test_no_route_is_forgotten(client):
    documented = client.get("/openapi.json").json()["paths"]
    asked = {path.replace(NO_TICKET, "{ticket_id}").replace(IMPLIED, "{name}") for _, path, _, _ in ROUTES}
    assert set(documented) - asked == OPEN


def test_without_a_key_nothing_else_answers(client, new_key):
    nobody = {"Authorization": ""}
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            answer = client.request(method, path.replace("{ticket_id}", NO_TICKET), headers=nobody)
            assert (answer.status_code == 401) == (path not in OPEN - {"/v1/hooks/{connection}"}), (method, path)
    assert client.get("/openapi.json", headers=nobody).status_code == 401
    least = {"Authorization": f"Bearer {new_key('tickets:write')}"}
    assert client.get("/openapi.json", headers=least).status_code == 200


def test_a_key_is_stored_as_its_hash_alone(new_key, sql):
    key = new_key("admin")
    assert len(key) >= len("triage_") + 43
    assert sql("SELECT sha256 FROM api_keys") == [(hashlib.sha256(key.encode()).digest(),)]
    assert sql("SELECT count(*) FROM api_keys k WHERE k::text LIKE %s", f"%{key[7:]}%") == [(0,)]


def test_a_revoked_key_that_is_in_use_ends_within_30_seconds(client, database, monkeypatch):
    with transaction(database) as session:
        row, key = create_key(session, "short", ["tickets:read"])
    call = {"headers": {"Authorization": f"Bearer {key}"}}
    assert client.get("/v1/tickets", **call).status_code == 200
    with transaction(database) as session:
        revoke_key(session, row.id)
    assert client.get("/v1/tickets", **call).status_code == 200  # still cached
    real = known.time.monotonic
    monkeypatch.setattr(known.time, "monotonic", lambda: real() + 30)
    assert client.get("/v1/tickets", **call).status_code == 401


def test_a_key_may_fix_the_source(client, new_key, sql):
    headers = {"Authorization": f"Bearer {new_key('tickets:write', source='crm')}"}
    assert client.post("/v1/tickets", json={"body": "a"}, headers=headers).status_code == 202
    assert client.post("/v1/tickets", json={"body": "a", "source": "crm"}, headers=headers).status_code == 202
    refused = client.post("/v1/tickets", json={"body": "a", "source": "other"}, headers=headers)
    assert refused.status_code == 422
    assert "'crm'" in refused.json()["detail"]
    assert sql("SELECT DISTINCT source FROM tickets") == [("crm",)]
