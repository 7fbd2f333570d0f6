"""A minute of `make chaos`, and that its proof would see a ticket lost, doubled or left."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import proof
import psycopg
import pytest
import suspects
from ledger import Ledger
from plan import KINDS, Fault, least, plan
from sqlalchemy import Engine
from storm import Flight, Struck

from models.db import conninfo
from workers.drain import Drain

ROOT = Path(__file__).resolve().parents[2]
Sql = Callable[..., list[Any]]


@pytest.mark.timeout(900)
def test_a_minute_of_kills_and_freezes() -> None:
    """Every process of a Triage with two API processes and two workers; its own output says what was in flight."""
    command = [sys.executable, str(ROOT / "tests" / "chaos"), "--seconds", "60", "--seed", "1"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing was lost and nothing doubled" in done.stdout


@pytest.mark.parametrize("seconds", [10.0, 60.0, 600.0])
def test_every_plan_has_the_faults_that_its_length_needs(seconds: float) -> None:
    whole, each = least(seconds)
    for seed in range(50):
        faults = plan(seed, seconds)
        assert faults == plan(seed, seconds) != plan(seed + 1, seconds)
        assert len(faults) >= whole
        assert min(sum(fault.kind == kind for fault in faults) for kind in KINDS) >= each
    assert least(60.0) == least(600.0) == (20, 3)


@pytest.fixture
def ledger(client: httpx.Client, drain: Drain) -> Ledger:
    """Four tickets that were accepted and classified, and one that was refused."""
    made = Ledger()
    for name in ("one", "two", "three", "four", "bad"):
        made.sent((name,))
        answer = client.post("/v1/tickets", json={"body": 5 if name == "bad" else f"My card {name}", "requester": name})
        if answer.status_code == 202:
            made.accepted(name, answer.json()["id"])
    drain.run()
    return made


def found(database_url: str, ledger: Ledger) -> dict[str, int]:
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        return proof.broken(connection, ledger)


def test_nothing_is_broken_where_nothing_is(database_url: str, ledger: Ledger) -> None:
    assert ledger.states() == {"accepted": 4, "refused": 1}
    assert found(database_url, ledger) == {}


COPY = """INSERT INTO tickets (id, requester, status, source, subject, body, raw, content_sha256, shadow, shadow_rate)
    SELECT gen_random_uuid(), {}, 'api', subject, body, raw, content_sha256, false, 0 FROM tickets WHERE """
DAMAGE = {
    "UPDATE tickets SET requester = 'nobody' WHERE {}": {"accepted without a row", "rows that nobody sent"},
    COPY.format("requester, 'queued'") + "{}": {"names with two rows", "not done"},
    COPY.format("'bad', 'queued'") + "{}": {"refused with a row", "not done"},
    "UPDATE tickets SET attempts = 1 WHERE {}": {"with an attempt that was not theirs"},
    "UPDATE tickets SET status = 'queued' WHERE {}": {"not done"},
    "UPDATE tickets SET status = 'working', lease_id = gen_random_uuid() WHERE {}": {"not done", "still under a lease"},
    "UPDATE tickets SET status = 'failed' WHERE {}": {"not done", "failed with a triage"},
    "UPDATE tickets SET status = 'failed', lost_leases = 3 WHERE {}": {
        "not done",
        "failed with a triage",
        "failed by more lost workers than were struck",
    },
    "DELETE FROM triages x USING tickets t WHERE t.id = x.ticket_id AND {}": {
        "done without a triage of each field",
        "predictions without their triage",
    },
    "DELETE FROM predictions x USING tickets t WHERE t.id = x.ticket_id AND {}": {"triages without their predictions"},
    "UPDATE tickets SET run = 2 WHERE {}": {
        "in another run than were accepted",
        "done without a triage of each field",
        "without a revision for each earlier run",
    },
}


@pytest.mark.parametrize(("damage", "seen"), DAMAGE.items())
def test_the_proof_sees_what_is_broken(
    database_url: str, ledger: Ledger, sql: Sql, damage: str, seen: set[str]
) -> None:
    sql(damage.format("requester = 'one'"))
    assert set(found(database_url, ledger)) == seen


def test_a_second_triage_of_a_run_is_seen(database_url: str, ledger: Ledger, sql: Sql) -> None:
    """The tables forbid it; the proof does not rely on that."""
    sql("ALTER TABLE triages DROP CONSTRAINT uq_triages_ticket_id_run_field")
    names = "ticket_id, run, field, taxonomy_version, label, calibrated, decided_by, llms, action, reason, alternatives"
    names += ", wait_ms, time_to_label_ms, received_at"
    sql(f"INSERT INTO triages ({names}, newest) SELECT {names}, false FROM triages ORDER BY id LIMIT 1")
    assert found(database_url, ledger) == {"done without a triage of each field": 1, "runs with two triages": 1}


@pytest.mark.parametrize("span", ["hour", "day"])
def test_what_reports_miscount_is_seen(database: Engine, ledger: Ledger, sql: Sql, span: str) -> None:
    assert proof.miscounted(database) == []
    changed = sql(
        "UPDATE report_counts SET document = jsonb_set(document, '{cascade,n}', '5') WHERE span = %s"
        " RETURNING to_char(start AT TIME ZONE 'utc', 'YYYY-MM-DD HH24:MI')",
        span,
    )
    wrong = [f"Reports miscount the {span} from {start}." for (start,) in sorted(changed)]
    assert proof.miscounted(database) == wrong != []


def struck(kind: str, *, hour: bool) -> Struck:
    return Struck(Fault(0.0, kind, 0, "kill", 1.0, hour), f"{kind} 1", 0.0, Flight(0, 1, 1))


def test_only_so_many_tickets_can_have_lost_three_workers(database_url: str, ledger: Ledger, sql: Sql) -> None:
    others = [struck(kind, hour=False) for kind in KINDS if kind != "worker"]
    kill, hour = struck("worker", hour=False), struck("worker", hour=True)
    assert [suspects.most(others + more) for more in ([], [kill], [kill] * 5, [kill, hour])] == [0, 0, 2, 1]
    sql("UPDATE tickets SET status = 'failed', lost_leases = 3")
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        assert [suspects.requeue(connection, count) for count in (0, 3, 0, 3)] == [0, 3, 0, 1]
    assert sql("SELECT DISTINCT status, lost_leases FROM tickets") == [("queued", 0)]


def test_one_ticket_under_two_ids_is_noted() -> None:
    made = Ledger()
    made.sent(("twice",))
    for ticket_id in ("a", "a", "b"):
        made.accepted("twice", ticket_id)
    assert made.wrong == ["twice was accepted as a and as b"]
