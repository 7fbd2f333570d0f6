"""Every way in which Postgres can be away is one error, Unavailable, which is a 503 or another try, never a 500."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from processes import eventually
from sqlalchemy import Engine, create_engine, text

from models import db
from models.db import conninfo, make_engine, transaction
from models.errors import Unavailable
from service.datadir import Urls
from service.intake.door import WRITERS
from workers.drain import Drain

ONE = text("SELECT 1")


def test_all_connections_in_use(database_url: str) -> None:
    engine = create_engine(db.database_url(database_url), pool_size=1, max_overflow=0, pool_timeout=0.1)
    with transaction(engine) as busy:
        busy.execute(ONE)
        with pytest.raises(Unavailable), transaction(engine) as session:
            session.execute(ONE)
    with transaction(engine) as session:
        assert session.scalar(ONE) == 1
    engine.dispose()


def test_a_standby_after_a_failover(database_url: str, sql: Callable[..., list[Any]]) -> None:
    (name,) = sql("SELECT current_database()")[0]
    sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    engine = make_engine(database_url)
    with pytest.raises(Unavailable), transaction(engine) as session:
        session.execute(text("DELETE FROM tickets"))
    engine.dispose()


def test_a_process_frozen_inside_a_transaction_gives_its_rows_up(database: Engine) -> None:
    with transaction(database) as session:
        assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "30s"
    with pytest.raises(Unavailable):
        _frozen_inside(database)
    with transaction(database) as session:
        assert session.scalar(ONE) == 1


def _frozen_inside(database: Engine) -> None:
    with transaction(database) as frozen:
        frozen.execute(text("SET LOCAL idle_in_transaction_session_timeout = 20"))
        frozen.execute(text("LOCK TABLE tickets"))
        with transaction(database) as other:
            other.execute(text("LOCK TABLE tickets"))
        time.sleep(0.05)
        frozen.execute(ONE)


def test_every_connection_ended(database: Engine, sql: Callable[..., list[Any]]) -> None:
    with transaction(database) as session:
        session.execute(ONE)
    sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'triage'")
    with transaction(database) as session:
        assert session.scalar(ONE) == 1


def test_what_is_committed_is_accepted_even_if_it_cannot_be_read_back(
    client: httpx.Client, servers: Urls, sql: Callable[..., list[Any]]
) -> None:
    """An error would make the helpdesk send the ticket again."""
    (name,) = sql("SELECT current_database()")[0]
    doors = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'triage-door' AND datname = '{name}'"
    with psycopg.connect(conninfo(servers.database_url), autocommit=True) as admin, ThreadPoolExecutor() as pool:

        def every_connection_open() -> bool:
            posts = [pool.submit(client.post, "/v1/tickets?wait=0.2", json={"body": "opens one"}) for _ in range(8)]
            assert {post.result().status_code for post in posts} == {202}
            return sql(doors) == [(WRITERS,)]

        eventually(every_connection_open)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'triage'")
        answer = pool.submit(client.post, "/v1/tickets?wait=20", json={"body": "committed"})
        while not sql("UPDATE tickets SET status = 'done' WHERE body = 'committed' RETURNING id"):
            assert not answer.done()
        assert client.get("/v1/tickets").status_code == 503
        assert answer.result().status_code == 202
        assert sql("SELECT id::text FROM tickets WHERE body = 'committed'") == [(answer.result().json()["id"],)]
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_predictions_name_their_llm_after_its_row_was_replaced(
    client: httpx.Client, drain: Drain, sql: Callable[..., list[Any]]
) -> None:
    """As a restored backup does under a running worker: the same pin has another id, and its old id is another's."""
    for body in ("where is my card", "why was my card declined"):
        client.post("/v1/tickets", json={"body": body})
        drain.run()
        sql("UPDATE llm_versions SET name = 'old ' || id WHERE name IN ('primary', 'fallback')")
    named = "SELECT l.name FROM predictions p JOIN llm_versions l ON l.id = p.llm_version_id ORDER BY p.id"
    assert [name for (name,) in sql(named)] == ["old 1", "old 2", "old 3", "old 4"]
    assert sql("SELECT count(*) FROM llm_versions") == [(4,)]
