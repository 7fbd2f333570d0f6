"""A heartbeat clears away the Idempotency-Keys that are over, also many of them, and no other."""

import pytest

from models.tables import KEY_LIFE
from workers.runtime import KEYS, Runtime

MANY = 2 * KEYS + 500
INSERT = f"""
    INSERT INTO idempotency_keys (api_key_id, key, body_sha256, answer, created_at)
    SELECT (SELECT id FROM api_keys), %s || i, '', '{{}}', now() - interval '{KEY_LIFE}' + %s::interval
    FROM generate_series(1, %s) i"""


@pytest.fixture
def worker(loaded, tmp_path, new_key, sql):
    """With keys in its database that are over since a minute, and some that are not for another hour."""
    new_key("admin")
    sql(INSERT, "old", "-1 minute", MANY)
    sql(INSERT, "good", "1 hour", 7)
    made = Runtime(loaded, tmp_path / "worker")
    yield made
    made.close()


def left(sql):
    return dict(sql("SELECT left(key, 3), count(*) FROM idempotency_keys GROUP BY 1"))


def test_all_that_are_over_go_with_one_heartbeat_if_there_is_time(worker, sql, monkeypatch):
    monkeypatch.setattr("workers.runtime.KEYS_S", 600.0)
    worker.beat()
    assert left(sql) == {"goo": 7}


def test_without_time_for_more_each_heartbeat_takes_a_batch(worker, sql, monkeypatch):
    monkeypatch.setattr("workers.runtime.KEYS_S", 0.0)
    for rest in (MANY - KEYS, MANY - 2 * KEYS):
        worker.beat()
        assert left(sql) == {"old": rest, "goo": 7}
    worker.beat()
    assert left(sql) == {"goo": 7}


def test_a_key_that_somebody_holds_is_waited_for_by_no_heartbeat(worker, sql, database, monkeypatch):
    monkeypatch.setattr("workers.runtime.KEYS_S", 600.0)
    with database.connect() as connection, connection.begin():
        connection.exec_driver_sql("SELECT FROM idempotency_keys WHERE key = 'old1' FOR UPDATE")
        worker.beat()
        assert left(sql) == {"old": 1, "goo": 7}
    worker.beat()
    assert left(sql) == {"goo": 7}
