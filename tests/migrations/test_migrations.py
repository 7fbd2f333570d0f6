"""The migrations make exactly the tables of the code, can go back, and keep names predictable."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import inspect, text
from written import Written

import migrations
from models.db import conninfo, make_engine
from models.errors import ConfigError, Unavailable
from models.tables import SEARCHED

VERSIONS = Path(migrations.__file__).parent / "versions"


@pytest.fixture
def empty_url(database_url):
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return database_url


def test_the_code_and_the_migrated_database_agree(database_url):
    migrations.check(database_url)
    assert migrations.current(database_url) == migrations.head()


def test_down_to_nothing_and_up_again(database_url):
    migrations.downgrade(database_url, "base")
    engine = make_engine(database_url)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()
    migrations.upgrade(database_url)
    migrations.check(database_url)


def test_two_processes_may_migrate_at_once(empty_url):
    command = [sys.executable, "-c", "import sys, migrations; migrations.upgrade(sys.argv[1])", empty_url]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert migrations.current(empty_url) == migrations.head()
    migrations.check(empty_url)


def test_another_that_is_frozen_while_it_migrates_is_not_waited_for_for_ever(empty_url, monkeypatch):
    monkeypatch.setattr("migrations.OTHER_S", 0.2)
    with psycopg.connect(conninfo(empty_url)) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (migrations.LOCK,))
        with pytest.raises(Unavailable, match="Another triage is changing"):
            migrations.upgrade(empty_url)
    migrations.upgrade(empty_url)
    migrations.check(empty_url)


def test_a_database_of_a_newer_version_is_left_alone(database_url):
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'newer'")
    with pytest.raises(ConfigError, match="newer version"):
        migrations.upgrade(database_url)
    assert migrations.current(database_url) == "newer"


def test_a_locked_table_is_waited_for_only_shortly(database_url):
    with psycopg.connect(conninfo(database_url)) as connection:
        connection.execute("LOCK TABLE tickets, predictions")
        with pytest.raises(Unavailable, match="holds a table"):
            migrations.downgrade(database_url, "base")
    # Each step is whole or not there, so the way up is open from wherever it stopped.
    migrations.upgrade(database_url)
    migrations.check(database_url)


def test_hours_of_tickets_that_were_there_before_are_marked_to_be_counted(database_url):
    migrations.downgrade(database_url, "0009")
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        write = Written(lambda statement, *values: connection.execute(statement, values).fetchall())
        for minute in (15, 45):
            write.ticket(received_at=f"2026-01-02T03:{minute}:00Z")
        migrations.upgrade(database_url)
        found = connection.execute("SELECT hour AT TIME ZONE 'UTC' FROM stale_hours").fetchall()
    assert found == [(datetime(2026, 1, 2, 3),)]  # noqa: DTZ001 (in UTC, as said)


def test_constraints_follow_the_naming_convention(database):
    inspector = inspect(database)
    for table in set(inspector.get_table_names()) - {"alembic_version"}:
        assert inspector.get_pk_constraint(table)["name"] == f"pk_{table}"
        for kind, found in (
            ("fk", inspector.get_foreign_keys(table)),
            ("uq", inspector.get_unique_constraints(table)),
            ("ck", inspector.get_check_constraints(table)),
        ):
            assert all(constraint["name"].startswith(f"{kind}_{table}_") for constraint in found), table


def test_files_begin_with_their_date():
    names = [path.name for path in VERSIONS.glob("*.py")]
    assert names
    assert all(name[:10].replace("-", "").isdigit() and name[10] == "_" for name in names)


def test_the_index_that_alembic_does_not_compare_is_the_one_the_search_uses(database):
    with database.connect() as connection:
        (found,) = connection.execute(
            text("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_tickets_search'")
        ).one()
    assert SEARCHED in found
