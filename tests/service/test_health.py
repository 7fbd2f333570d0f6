"""/healthz and /readyz tell the truth without a key."""

import asyncio
import json

import pytest
from serving import serving

import migrations
from service.api.readiness import Readiness
from workers.runtime import Runtime


def ready(client):
    answer = client.get("/readyz", headers={"Authorization": ""})
    return answer.status_code, answer.json()["status"], " ".join(answer.json()["missing"])


def test_healthz(client):
    assert client.get("/healthz", headers={"Authorization": ""}).json() == {"status": "ok"}


def test_without_a_worker_it_is_degraded(client):
    status, word, missing = ready(client)
    assert (status, word) == (200, "degraded")
    assert "No worker" in missing


def test_a_fresh_heartbeat_makes_it_ok_and_a_stale_one_does_not_count(client, loaded, tmp_path, sql):
    runtime = Runtime(loaded, tmp_path / "llm")
    try:
        runtime.beat()
        assert "not loaded yet" in ready(client)[2]
        runtime.look()
        assert ready(client) == (200, "ok", "")
        sql('UPDATE workers SET llms = \'{"primary": {"error": "no file"}}\'')
        assert "primary is not loaded: no file" in ready(client)[2]
        broken = {"primary": {"error": None, "breaker": "Ollama failed 5 times in a row for primary: away."}}
        sql("UPDATE workers SET llms = %s", json.dumps(broken))
        assert ready(client) == (
            200,
            "degraded",
            "The llm primary is not asked at the moment: Ollama failed 5 times in a row for primary: away. "
            "Tickets wait, or are decided without it.",
        )
        sql("UPDATE workers SET seen_at = now() - interval '16 seconds'")
        assert "No worker" in ready(client)[2]
    finally:
        runtime.close()
    assert sql("SELECT count(*) FROM workers") == [(0,)]


def test_redis_away_is_degraded(loaded):
    from pydantic import SecretStr

    away = {"redis_url": SecretStr("redis://127.0.0.1:9/0")}
    with serving(loaded.model_copy(update={"settings": loaded.settings.model_copy(update=away)})) as client:
        status, word, missing = ready(client)
        assert (status, word) == (200, "degraded")
        assert "Redis" in missing


@pytest.mark.parametrize("spoil", ["DELETE FROM alembic_version", "DROP TABLE alembic_version"])
def test_a_database_without_a_schema_is_503(client, sql, spoil):
    sql(spoil)
    status, word, missing = ready(client)
    assert (status, word) == (503, "unavailable")
    assert migrations.head() in missing
    assert "triage migrate" in missing


def test_an_older_schema_is_503(loaded):
    with serving(loaded, older=frozenset({migrations.head()})) as client:
        assert ready(client)[:2] == (503, "unavailable")


def test_the_schema_of_a_newer_version_serves_too(client, sql):
    sql("UPDATE alembic_version SET version_num = 'newer'")
    assert ready(client)[:2] == (200, "degraded")


def test_an_unknown_path_is_a_problem(client):
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/docs").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("DELETE", "/v1/tickets", "GET, POST"),
        ("PUT", "/v1/tickets/0190b6c2-93a1-7000-8000-000000000000", "GET, DELETE"),
        ("POST", "/healthz", "GET"),
        ("DELETE", "/v1/hooks/any", "GET, HEAD, POST"),
    ],
)
def test_what_a_path_takes_is_said(client, method, path, takes):
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, takes)
    assert answer.json()["detail"] == f"This address takes {takes} only."


def test_nothing_there_is_said_with_where_to_look(client):
    answer = client.get("/v1/ticket")
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    assert answer.json()["detail"] == "There is nothing at this address; /openapi.json lists what there is."


def test_probes_that_come_together_are_all_answered(database):
    """One look ends and the next begins before whoever waited for the first is awake."""
    readiness, callers, times = Readiness(database, "", frozenset()), 8, 100
    readiness._look = lambda: ["No worker is running."]

    async def asks():
        return [await readiness.missing() for _ in range(times)]

    async def together():
        return await asyncio.gather(*(asks() for _ in range(callers)))

    assert asyncio.run(together()) == [[["No worker is running."]] * times] * callers
