"""Counts that reports are read from, hour by hour and day by day, and marks on the hours whose rows have changed.

Postgres itself marks, so that nobody who writes can forget to.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TIME = postgresql.TIMESTAMP(timezone=True)
# One mark for each hour and statement. Among many tickets the few that changed are found by their key, whatever the
# planner knew about the table when the session began.
BY_TICKET = """
    CREATE FUNCTION mark_hours_of_rows() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    BEGIN
        INSERT INTO stale_hours (hour)
        SELECT DISTINCT date_trunc('hour', t.received_at, 'UTC') FROM tickets t
        WHERE t.id IN (SELECT ticket_id FROM changed);
        RETURN NULL;
    END $$"""
OF_A_TICKET = """
    CREATE FUNCTION mark_hours_of_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO stale_hours (hour)
        SELECT DISTINCT date_trunc('hour', at, 'UTC') FROM (VALUES (OLD.received_at), (NEW.received_at)) of (at);
        RETURN NULL;
    END $$"""
ALL = """
    CREATE FUNCTION mark_all_hours() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO stale_hours (hour) SELECT DISTINCT start FROM report_counts WHERE span = 'hour';
        RETURN NULL;
    END $$"""
FUNCTIONS = ("mark_hours_of_rows", "mark_hours_of_ticket", "mark_all_hours")
KEPT = ("frozen_hours", "report_pairs", "report_counts", "stale_hours")
# A ticket's own row counts only with what was said of it; of its columns these decide whether and where that counts.
COUNTED = ("run", "content_sha256", "received_at", "experiment", "shadow")
BEFORE, AFTER = (", ".join(f"{row}.{name}" for name in COUNTED) for row in ("OLD", "NEW"))
ON_A_TICKET = f"""
    CREATE TRIGGER mark_hours AFTER UPDATE ON tickets FOR EACH ROW
    WHEN (({BEFORE}) IS DISTINCT FROM ({AFTER}))
    EXECUTE FUNCTION mark_hours_of_ticket()"""
ON_ROWS = """
    CREATE TRIGGER mark_hours_{name} AFTER {event} ON {table} REFERENCING {rows} TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION mark_hours_of_rows()"""
ON_ALL = """
    CREATE TRIGGER mark_hours_truncate AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION mark_all_hours()"""
TABLES = ("predictions", "triages", "verdicts")
EVENTS = {"INSERT": "NEW", "UPDATE": "NEW", "DELETE": "OLD"}
# From the first ticket on, by the index: a look at every ticket would keep the door waiting.
EVERY_HOUR = """
    INSERT INTO stale_hours (hour)
    SELECT generate_series(date_trunc('hour', min(received_at), 'UTC'), max(received_at), '1 hour') FROM tickets"""


def upgrade() -> None:
    _drop()
    _tables()
    for statement in (BY_TICKET, OF_A_TICKET, ALL, ON_A_TICKET):
        op.execute(statement)
    for table in TABLES:
        op.execute(ON_ALL.format(table=table))
        for event, rows in EVENTS.items():
            op.execute(ON_ROWS.format(name=event.lower(), event=event, table=table, rows=rows))
    op.execute(EVERY_HOUR)


def _tables() -> None:
    op.create_table(
        "stale_hours",
        sa.Column("id", sa.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column("hour", TIME, nullable=False),
        sa.Column("at", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stale_hours")),
    )
    op.create_table(
        "report_counts",
        *_key(),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("span IN ('hour', 'day')", name=op.f("ck_report_counts_span")),
        sa.PrimaryKeyConstraint("span", "start", "experiment", "field", name=op.f("pk_report_counts")),
    )
    op.create_table(
        "report_pairs",
        *_key(),
        sa.Column("source", sa.TEXT(), nullable=False, comment="of truth; empty: tickets that the coin drew"),
        sa.Column("llm_a", sa.Integer(), nullable=False),
        sa.Column("llm_b", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.BIGINT(), server_default="0", nullable=False)
            for name in ("both_right", "only_a", "only_b", "neither", "answered")
        ),
        sa.CheckConstraint("span IN ('hour', 'day')", name=op.f("ck_report_pairs_span")),
        sa.PrimaryKeyConstraint(
            "span", "start", "experiment", "field", "source", "llm_a", "llm_b", name=op.f("pk_report_pairs")
        ),
    )
    op.create_table(
        "frozen_hours",
        sa.Column("before", TIME, nullable=False, comment="the rows of earlier hours may be deleted"),
        sa.PrimaryKeyConstraint("before", name=op.f("pk_frozen_hours")),
    )


def _drop() -> None:
    """What is there already is of the store that a backup from before this revision was restored over."""
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION IF EXISTS {function}()")
    for table in KEPT:
        op.execute(f"DROP TABLE IF EXISTS {table}")


def _key() -> list[sa.Column[Any]]:
    return [
        sa.Column("span", sa.TEXT(), nullable=False),
        sa.Column("start", TIME, nullable=False),
        sa.Column("experiment", sa.TEXT(), nullable=False, comment="empty: of none"),
        sa.Column(
            "field", sa.TEXT(), nullable=False, comment="empty: of the tickets themselves, once they are deleted"
        ),
    ]


def downgrade() -> None:
    op.execute("DROP TRIGGER mark_hours ON tickets")
    for table in TABLES:
        for event in ("truncate", *(event.lower() for event in EVENTS)):
            op.execute(f"DROP TRIGGER mark_hours_{event} ON {table}")
    _drop()
