"""Holds a process of ours at an exact moment, inside Postgres, so that a test can kill or freeze it just there."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
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
OPEN = """SELECT pid FROM pg_stat_activity
          WHERE application_name = 'triage' AND state = 'idle in transaction' AND query LIKE %s"""
LAST = {CLAIMING: "%SET status = 'working'%", WRITING: "%INSERT INTO triages%"}  # statements of their transactions


@contextmanager
def held_at(up: Up, moment: str) -> Iterator[Callable[[], object]]:
    """Whoever of ours comes to the moment goes no further until the block ends, or calls what it is given.

    What has begun then goes on. A transaction that is open at the end would keep the gate from being taken down.
    """
    table = "triages" if moment == WRITING else "tickets"
    with psycopg.connect(conninfo(up.database_url()), autocommit=True) as gatekeeper:
        gatekeeper.execute("SELECT pg_advisory_lock(1)")
        gatekeeper.execute(GATE)
        gatekeeper.execute(moment.format("EXECUTE FUNCTION gate()").encode())
        try:
            yield lambda: gatekeeper.execute("SELECT pg_advisory_unlock(1)")
        finally:
            gatekeeper.execute("SELECT pg_advisory_unlock_all()")
            gatekeeper.execute(f"DROP TRIGGER gate ON {table}".encode())


def until_held(up: Up, name: str) -> None:
    """Waits until a connection of ours with that name stands at the gate."""
    eventually(lambda: up.one(WAITING, name) > 0, why=f"{name} never came to the moment")


def until_through(up: Up, name: str) -> None:
    """Waits until nobody stands there any more: what a killed process had begun is committed or undone."""
    eventually(lambda: up.one(WAITING, name) == 0)


def left_open(up: Up, moment: str) -> int:
    """Waits until a frozen worker's transaction has nothing left to do but to commit; the backend that has it."""
    ((backend,),) = eventually(lambda: up.sql(OPEN, LAST[moment]), why="nobody left a transaction open")
    return int(backend)


@contextmanager
def frozen(process: psutil.Process) -> Iterator[psutil.Process]:
    """Stopped where it stands, until the block ends."""
    process.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: process.status() == psutil.STATUS_STOPPED)
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)
