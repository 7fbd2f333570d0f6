"""/readyz says that Postgres takes no tickets, and why, from the first refused one until one would be taken again."""

import asyncio

import psycopg
import pytest
from doors import door, submission

from models.db import conninfo
from models.errors import InvalidRequest

ERROR = 'could not extend file "base/secret"'
FULL = f"""
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '{ERROR}' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON tickets FOR EACH ROW EXECUTE FUNCTION full_disk()"""
EMPTIER = "DROP FUNCTION full_disk CASCADE"
READ_ONLY, WRITABLE = "ALTER DATABASE {} SET default_transaction_read_only = on", "ALTER DATABASE {} RESET ALL"
AWAY, BACK = "ALTER TABLE tickets RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO tickets"
FAULTS = [
    (FULL, EMPTIER, "its disk is full"),
    (READ_ONLY, WRITABLE, "it only reads at the moment"),
    (AWAY, BACK, "its error is UndefinedTable"),
]
LEFT = "SELECT (SELECT count(*) FROM tickets), (SELECT count(*) FROM stale_hours)"


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch):
    monkeypatch.setattr("service.intake.last_write.TRY_S", 30)


@pytest.fixture
def name(sql):
    return sql("SELECT current_database()")[0][0]


def ready(client):
    answer = client.get("/readyz", headers={"Authorization": ""})
    return answer.status_code, answer.json()["status"], answer.json()["missing"]


@pytest.mark.parametrize(("fault", "cure", "why"), FAULTS, ids=["full", "read-only", "another schema"])
def test_it_is_told_until_a_ticket_would_be_taken(client, sql, name, fault, cure, why):
    well = ready(client)
    assert well[:2] == (200, "degraded")  # without a worker
    sql(fault.format(name))
    assert client.post("/v1/tickets", json={"body": "refused"}).status_code == 503
    for _ in range(2):
        assert ready(client) == (503, "unavailable", [f"Postgres takes no tickets: {why}."])
    sql("SET default_transaction_read_only = off")
    sql(cure.format(name))
    assert ready(client) == well
    assert sql(LEFT) == [(0, 0)]


def test_another_reason_is_told_as_soon_as_it_is_one(client, sql):
    sql(FULL)
    assert client.post("/v1/tickets", json={"body": "refused"}).status_code == 503
    sql(EMPTIER)
    sql(AWAY)
    assert ready(client)[2] == ["Postgres takes no tickets: its error is UndefinedTable."]


def test_a_small_ticket_for_which_there_was_room_does_not_end_it(client, sql):
    well = ready(client)
    sql(FULL.replace("FOR EACH ROW", "FOR EACH ROW WHEN (length(NEW.raw) > 10000)"))
    for size, status in ((20_000, 503), (20, 202)):
        assert client.post("/v1/tickets", json={"body": "x" * size}).status_code == status
    assert ready(client) == (503, "unavailable", ["Postgres takes no tickets: its disk is full."])
    sql(EMPTIER)
    assert ready(client) == well


def test_a_ticket_at_fault_is_no_fault_of_postgres(database_url, sql):
    spoiled = submission("spoiled")
    spoiled.tickets = [spoiled.tickets[0]._replace(body="\0")]

    async def refused():
        async with door(database_url) as made:
            (error,) = await asyncio.gather(made.commit(spoiled), return_exceptions=True)
            return error, made.last.refused

    error, told = asyncio.run(refused())
    assert told is None
    assert isinstance(error, InvalidRequest)


def test_a_postgres_that_only_reads_is_told_before_the_first_ticket(client, sql, name):
    sql(READ_ONLY.format(name))
    assert ready(client) == (503, "unavailable", ["Postgres takes no tickets: it only reads at the moment."])


def test_a_locked_table(database_url, sql):
    async def refused():
        async with door(database_url) as made:
            await asyncio.gather(*(made.commit(submission("refused")) for _ in range(2)), return_exceptions=True)
            return made.last.refused

    with psycopg.connect(conninfo(database_url)) as other:
        other.execute("LOCK TABLE tickets")
        assert asyncio.run(refused()) == "Postgres takes no tickets: another transaction has locked their table."


def test_who_asks_together_shares_one_try(database_url, sql):
    sql(FULL)

    async def asked():
        async with door(database_url) as made:
            await asyncio.gather(made.commit(submission("refused")), return_exceptions=True)
            sql("CREATE SEQUENCE tries")
            sql(
                "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN PERFORM nextval('tries'); RAISE EXCEPTION 'full' USING ERRCODE = 'disk_full'; END $$"
            )
            return await asyncio.gather(*(made.last.check() for _ in range(20)), return_exceptions=True)

    assert [str(one) for one in asyncio.run(asked())] == ["Postgres takes no tickets: its disk is full."] * 20
    assert sql("SELECT last_value, is_called FROM tries") == [(1, True)]
