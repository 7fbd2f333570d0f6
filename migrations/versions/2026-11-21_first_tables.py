"""The first tables: keys, tickets, what llms say of them, and what humans decide."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.TEXT(), nullable=False),
        sa.Column("sha256", postgresql.BYTEA(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.TEXT()), nullable=False),
        sa.Column("source", sa.TEXT(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_keys_sha256")),
    )
    op.create_table(
        "llm_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.TEXT(), nullable=False),
        sa.Column("digest", sa.TEXT(), nullable=False),
        sa.Column("engine", sa.TEXT(), nullable=False),
        sa.Column("engine_version", sa.TEXT(), nullable=False),
        sa.Column("prompt_version", sa.TEXT(), nullable=False),
        sa.Column("calibration_id", sa.TEXT(), server_default="", nullable=False),
        sa.Column("demo", sa.Boolean(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_versions")),
        sa.UniqueConstraint(
            "name", "digest", "engine", "engine_version", "prompt_version", "calibration_id", name="uq_llm_versions_pin"
        ),
    )
    op.create_table(
        "taxonomy_versions",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", postgresql.BYTEA(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_taxonomy_versions")),
    )
    op.create_table(
        "tickets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.TEXT(), nullable=False),
        sa.Column("external_id", sa.TEXT(), nullable=True),
        sa.Column("channel", sa.TEXT(), nullable=True),
        sa.Column("language", sa.TEXT(), nullable=True),
        sa.Column("requester", sa.TEXT(), nullable=True),
        sa.Column("subject", sa.TEXT(), nullable=False),
        sa.Column("body", sa.TEXT(), nullable=False),
        sa.Column("repaired", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("raw", postgresql.BYTEA(), nullable=False),
        sa.Column("content_sha256", postgresql.BYTEA(), nullable=False),
        sa.Column(
            "metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("run", sa.Integer(), server_default="1", nullable=False),
        sa.Column("status", sa.TEXT(), server_default="queued", nullable=False),
        sa.Column("priority", sa.Integer(), server_default="1", nullable=False),
        sa.Column("queued_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "lost_leases",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="workers that died or froze with it",
        ),
        sa.Column("last_error", sa.TEXT(), nullable=True),
        sa.Column("lease_id", sa.Uuid(), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("claimed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("done_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("shadow", sa.Boolean(), nullable=False),
        sa.Column("shadow_rate", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("experiment", sa.TEXT(), nullable=True),
        sa.Column("arm", sa.TEXT(), nullable=True, comment="of the experiment, as drawn at intake: a or b"),
        sa.CheckConstraint("(status = 'working') = (lease_id IS NOT NULL)", name=op.f("ck_tickets_lease")),
        sa.CheckConstraint("arm IN ('a', 'b')", name=op.f("ck_tickets_arm")),
        sa.CheckConstraint("status IN ('queued', 'working', 'done', 'failed')", name=op.f("ck_tickets_status")),
        sa.CheckConstraint("length(source) <= 255 AND length(external_id) <= 255", name=op.f("ck_tickets_lengths")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tickets")),
        sa.UniqueConstraint("source", "external_id", name=op.f("uq_tickets_source_external_id")),
    )
    op.create_index(
        "ix_tickets_due", "tickets", ["priority", "due_at"], unique=False, postgresql_where=sa.text("status = 'queued'")
    )
    op.create_index(
        "ix_tickets_external_id",
        "tickets",
        ["external_id"],
        unique=False,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "ix_tickets_leased", "tickets", ["lease_until"], unique=False, postgresql_where=sa.text("status = 'working'")
    )
    op.create_index("ix_tickets_received_at_id", "tickets", ["received_at", "id"], unique=False)
    op.create_index(
        "ix_tickets_search",
        "tickets",
        [sa.literal_column("to_tsvector('simple'::regconfig, \"left\"(((subject || ' '::text) || body), 100000))")],
        unique=False,
        postgresql_using="gin",
    )
    op.create_index("ix_tickets_source_received_at_id", "tickets", ["source", "received_at", "id"], unique=False)
    op.create_index("ix_tickets_status_received_at_id", "tickets", ["status", "received_at", "id"], unique=False)
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.TEXT(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("llms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.TEXT(), nullable=False),
        sa.Column("body_sha256", postgresql.BYTEA(), nullable=False),
        sa.Column("answer", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_idempotency_keys_api_key_id_api_keys")),
        sa.PrimaryKeyConstraint("api_key_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "predictions",
        sa.Column("id", sa.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("field", sa.TEXT(), nullable=False),
        sa.Column("llm_version_id", sa.Integer(), nullable=False),
        sa.Column("taxonomy_version", sa.Integer(), nullable=False),
        sa.Column("role", sa.TEXT(), nullable=False),
        sa.Column("reason", sa.TEXT(), nullable=False),
        sa.Column("label", sa.TEXT(), nullable=False),
        sa.Column("confidence", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("raw_confidence", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("calibrated", sa.Boolean(), nullable=False),
        sa.Column("label_mass", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("margin", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("scores", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("scores_complete", sa.Boolean(), nullable=False),
        sa.Column("slot_ms", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("load_ms", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("prefill_ms", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("decode_ms", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("call_ms", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("cached_tokens", sa.Integer(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "role IN ('primary', 'fallback', 'shadow', 'last_resort')", name=op.f("ck_predictions_role")
        ),
        sa.ForeignKeyConstraint(
            ["llm_version_id"], ["llm_versions.id"], name=op.f("fk_predictions_llm_version_id_llm_versions")
        ),
        sa.ForeignKeyConstraint(
            ["taxonomy_version"],
            ["taxonomy_versions.version"],
            name=op.f("fk_predictions_taxonomy_version_taxonomy_versions"),
        ),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_predictions_ticket_id_tickets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_predictions")),
        sa.UniqueConstraint(
            "ticket_id",
            "run",
            "field",
            "llm_version_id",
            name=op.f("uq_predictions_ticket_id_run_field_llm_version_id"),
        ),
    )
    op.create_table(
        "revisions",
        sa.Column("id", sa.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("subject", sa.TEXT(), nullable=False),
        sa.Column("body", sa.TEXT(), nullable=False),
        sa.Column("raw", postgresql.BYTEA(), nullable=False),
        sa.Column("content_sha256", postgresql.BYTEA(), nullable=False),
        sa.Column("replaced_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_revisions_ticket_id_tickets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revisions")),
        sa.UniqueConstraint("ticket_id", "run", name=op.f("uq_revisions_ticket_id_run")),
    )
    op.create_table(
        "triages",
        sa.Column("id", sa.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("field", sa.TEXT(), nullable=False),
        sa.Column("taxonomy_version", sa.Integer(), nullable=False),
        sa.Column("label", sa.TEXT(), nullable=True),
        sa.Column("confidence", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("calibrated", sa.Boolean(), nullable=False),
        sa.Column("decided_by", sa.TEXT(), nullable=False),
        sa.Column("llms", postgresql.ARRAY(sa.TEXT()), nullable=False),
        sa.Column("served_arm", sa.TEXT(), nullable=True, comment="of the experiment, as really served: a or b"),
        sa.Column("action", sa.TEXT(), nullable=False),
        sa.Column("reason", sa.TEXT(), nullable=False),
        sa.Column("alternatives", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("wait_ms", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("time_to_label_ms", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "received_at",
            postgresql.TIMESTAMP(timezone=True),
            nullable=False,
            comment="the ticket's, so that a filtered page needs one index",
        ),
        sa.Column(
            "newest",
            sa.Boolean(),
            server_default="true",
            nullable=False,
            comment="of all runs; one for each ticket and field",
        ),
        sa.CheckConstraint("action IN ('automate', 'suggest', 'review')", name=op.f("ck_triages_action")),
        sa.ForeignKeyConstraint(
            ["taxonomy_version"],
            ["taxonomy_versions.version"],
            name=op.f("fk_triages_taxonomy_version_taxonomy_versions"),
        ),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_triages_ticket_id_tickets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triages")),
        sa.UniqueConstraint("ticket_id", "run", "field", name=op.f("uq_triages_ticket_id_run_field")),
    )
    op.create_index(
        "ix_triages_action",
        "triages",
        ["field", "action", "received_at", "ticket_id"],
        unique=False,
        postgresql_where=sa.text("newest"),
    )
    op.create_index(
        "ix_triages_confidence",
        "triages",
        ["field", "confidence", "received_at", "ticket_id"],
        unique=False,
        postgresql_where=sa.text("newest"),
    )
    op.create_index(
        "ix_triages_label",
        "triages",
        ["field", "label", "received_at", "ticket_id"],
        unique=False,
        postgresql_where=sa.text("newest"),
    )
    op.create_index(
        "ix_triages_received_at",
        "triages",
        ["field", "received_at", "ticket_id"],
        unique=False,
        postgresql_where=sa.text("newest"),
    )
    op.create_index(
        "uq_triages_newest", "triages", ["ticket_id", "field"], unique=True, postgresql_where=sa.text("newest")
    )
    op.create_table(
        "verdicts",
        sa.Column("id", sa.BIGINT(), sa.Identity(always=False), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column(
            "content_sha256",
            postgresql.BYTEA(),
            nullable=False,
            comment="the ticket's when it was judged: another text, another truth",
        ),
        sa.Column("field", sa.TEXT(), nullable=False),
        sa.Column("label", sa.TEXT(), nullable=False),
        sa.Column("source", sa.TEXT(), nullable=False),
        sa.Column("author", sa.TEXT(), nullable=True),
        sa.Column("taxonomy_version", sa.Integer(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "source IN ('review', 'agent_change', 'agent_final', 'dataset', 'import')", name=op.f("ck_verdicts_source")
        ),
        sa.ForeignKeyConstraint(
            ["taxonomy_version"],
            ["taxonomy_versions.version"],
            name=op.f("fk_verdicts_taxonomy_version_taxonomy_versions"),
        ),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_verdicts_ticket_id_tickets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
    )
    op.create_index("ix_verdicts_ticket_id_field", "verdicts", ["ticket_id", "field"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_verdicts_ticket_id_field", table_name="verdicts")
    op.drop_table("verdicts")
    op.drop_index("uq_triages_newest", table_name="triages", postgresql_where=sa.text("newest"))
    op.drop_index("ix_triages_received_at", table_name="triages", postgresql_where=sa.text("newest"))
    op.drop_index("ix_triages_label", table_name="triages", postgresql_where=sa.text("newest"))
    op.drop_index("ix_triages_confidence", table_name="triages", postgresql_where=sa.text("newest"))
    op.drop_index("ix_triages_action", table_name="triages", postgresql_where=sa.text("newest"))
    op.drop_table("triages")
    op.drop_table("revisions")
    op.drop_table("predictions")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("workers")
    op.drop_index("ix_tickets_status_received_at_id", table_name="tickets")
    op.drop_index("ix_tickets_source_received_at_id", table_name="tickets")
    op.drop_index("ix_tickets_search", table_name="tickets", postgresql_using="gin")
    op.drop_index("ix_tickets_received_at_id", table_name="tickets")
    op.drop_index("ix_tickets_leased", table_name="tickets", postgresql_where=sa.text("status = 'working'"))
    op.drop_index("ix_tickets_external_id", table_name="tickets", postgresql_where=sa.text("external_id IS NOT NULL"))
    op.drop_index("ix_tickets_due", table_name="tickets", postgresql_where=sa.text("status = 'queued'"))
    op.drop_table("tickets")
    op.drop_table("taxonomy_versions")
    op.drop_table("llm_versions")
    op.drop_table("api_keys")
