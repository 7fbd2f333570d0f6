"""Holds a process of ours at an exact moment, inside Postgres, so that a test can kill it just there."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from processes import Up, eventually

from models.db import conninfo

GATE = """
    CREATE OR REPLACE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$"""
CLAIMING = "CREATE TRIGGER gate BEFORE UPDATE ON tickets FOR EACH ROW WHEN (NEW.status = 'working') {}"
WRITING = "CREATE TRIGGER gate BEFORE INSERT ON triages FOR EACH ROW {}"
ACCEPTING = "CREATE TRIGGER gate BEFORE INSERT ON tickets FOR EACH ROW {}"
COMMITTING = "CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON tickets DEFERRABLE INITIALLY DEFERRED FOR EACH ROW {}"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event = 'advisory'"


@contextmanager
def held_at(up: Up, moment: str) -> Iterator[None]:
    """Whoever of ours comes to the moment goes no further until the block ends. What has begun then goes on."""
    table = "triages" if moment == WRITING else "tickets"
    with psycopg.connect(conninfo(up.database_url()), autocommit=True) as gatekeeper:
        gatekeeper.execute("SELECT pg_advisory_lock(1)")
        gatekeeper.execute(GATE)
        gatekeeper.execute(moment.format("EXECUTE FUNCTION gate()").encode())
        try:
            yield
        finally:
            gatekeeper.execute("SELECT pg_advisory_unlock(1)")
            gatekeeper.execute(f"DROP TRIGGER gate ON {table}".encode())


def until_held(up: Up, name: str) -> None:
    """Waits until a connection of ours with that name stands at the gate."""
    eventually(lambda: up.one(WAITING, name) > 0, why=f"{name} never came to the moment")


def until_through(up: Up, name: str) -> None:
    """Waits until nobody stands there any more: what a killed process had begun is committed or undone."""
    eventually(lambda: up.one(WAITING, name) == 0)
