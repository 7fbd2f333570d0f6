"""A report that takes longer than Postgres's statement_timeout is a 503 that says what to do, and nothing is stuck."""

from contextlib import contextmanager
from functools import partial

import pytest
from serving import serving

from models.db import make_engine
from service import app

ALLOWED_S = 2


@pytest.fixture
def hurried(loaded, new_key, monkeypatch):
    """An API whose statements may take two seconds."""
    monkeypatch.setattr(app, "make_engine", partial(make_engine, statement_timeout_s=ALLOWED_S))
    with serving(loaded) as client:
        client.headers["Authorization"] = f"Bearer {new_key('admin')}"
        yield client


@contextmanager
def held(database, table):
    """Nobody reads this table inside."""
    with database.connect() as connection:
        connection.exec_driver_sql(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def test_a_report_that_takes_too_long_says_so(hurried, database):
    with held(database, "report_counts"):
        answer = hurried.get("/v1/report")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "took longer than is allowed; ask for fewer days with since and until" in answer.json()["detail"]
    assert hurried.get("/v1/report").status_code == 200
