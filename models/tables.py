"""The rows. They change only through `migrations/`; what each word means stands in the README."""

import os
import time
import uuid
from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, MetaData, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT, BYTEA, DOUBLE_PRECISION, JSONB, TEXT, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
NOW = text("now()")
# What full-text search looks at. The cut keeps a huge ticket below the size that Postgres can index.
SEARCHED = "to_tsvector('simple'::regconfig, \"left\"(((subject || ' '::text) || body), 100000))"
RowNumber = Annotated[int, mapped_column(BIGINT, Identity(), primary_key=True)]
EMPTY_OBJECT = text("'{}'::jsonb")
BULK_PRIORITY = 2  # of what comes in bulk, behind single tickets (1), so that it never delays a helpdesk
KEY_LIFE = "24 hours"  # for so long the first answer to an Idempotency-Key is given again
LIVE_FOR = "15 seconds"  # after its last heartbeat; a worker beats every five


def new_id() -> uuid.UUID:
    """A UUID version 7 (RFC 9562, 5.7): 48 bits of milliseconds, then random, so keys grow with time."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 (the form SQLAlchemy documents)
        str: TEXT,
        bytes: BYTEA,
        float: DOUBLE_PRECISION,
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(TEXT),
    }


class ApiKey(Base):
    """A caller. The key itself is shown once and kept only as SHA-256."""

    __tablename__ = "api_keys"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    sha256: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    source: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    revoked_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    """The first answer to an Idempotency-Key, replayed for 24 hours."""

    __tablename__ = "idempotency_keys"
    api_key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[bytes]
    answer: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW, index=True)


class TaxonomyVersion(Base):
    """One state of the label vocabulary; never changed, the highest version is active."""

    __tablename__ = "taxonomy_versions"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[bytes]
    document: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class LlmVersion(Base):
    """One pin of an llm: weights, engine, prompt and calibration that a prediction came from."""

    __tablename__ = "llm_versions"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    digest: Mapped[str]
    engine: Mapped[str]
    engine_version: Mapped[str]
    prompt_version: Mapped[str]
    calibration_id: Mapped[str] = mapped_column(server_default="")
    demo: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (
        UniqueConstraint(
            "name", "digest", "engine", "engine_version", "prompt_version", "calibration_id", name="uq_llm_versions_pin"
        ),
    )


class KeptExperiment(Base):
    """What an experiment compares, as it was when it was first seen: its name means that for ever."""

    __tablename__ = "experiments"
    name: Mapped[str] = mapped_column(primary_key=True)
    definition: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Ticket(Base):
    """A ticket as it came, its place in the queue, and the coin drawn for it. The row is the truth."""

    __tablename__ = "tickets"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    source: Mapped[str]
    external_id: Mapped[str | None]
    channel: Mapped[str | None]
    language: Mapped[str | None]
    requester: Mapped[str | None]
    subject: Mapped[str]
    body: Mapped[str]
    repaired: Mapped[bool] = mapped_column(server_default="false")
    raw: Mapped[bytes]
    content_sha256: Mapped[bytes]
    details: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=EMPTY_OBJECT)
    created_at: Mapped[datetime | None]
    received_at: Mapped[datetime] = mapped_column(server_default=NOW)

    run: Mapped[int] = mapped_column(server_default="1")
    status: Mapped[str] = mapped_column(server_default="queued")
    priority: Mapped[int] = mapped_column(server_default="1")
    queued_at: Mapped[datetime] = mapped_column(server_default=NOW)
    due_at: Mapped[datetime] = mapped_column(server_default=NOW)
    attempts: Mapped[int] = mapped_column(server_default="0")
    lost_leases: Mapped[int] = mapped_column(server_default="0", comment="workers that died or froze with it")
    last_error: Mapped[str | None]
    lease_id: Mapped[uuid.UUID | None]
    lease_until: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]

    shadow: Mapped[bool]
    shadow_rate: Mapped[float]
    experiment: Mapped[str | None]
    arm: Mapped[str | None] = mapped_column(comment="of the experiment, as drawn at intake: a or b")

    predictions: Mapped[list["Prediction"]] = relationship(lazy="raise", order_by="Prediction.id")
    triages: Mapped[list["Triage"]] = relationship(
        lazy="raise", order_by="Triage.run.desc(), Triage.field != 'category', Triage.field"
    )
    verdicts: Mapped[list["Verdict"]] = relationship(lazy="raise", order_by="Verdict.id")

    __table_args__ = (
        UniqueConstraint("source", "external_id"),
        CheckConstraint("status IN ('queued', 'working', 'done', 'failed')", name="status"),
        CheckConstraint("(status = 'working') = (lease_id IS NOT NULL)", name="lease"),
        CheckConstraint("arm IN ('a', 'b')", name="arm"),
        CheckConstraint("length(source) <= 255 AND length(external_id) <= 255", name="lengths"),
        Index("ix_tickets_received_at_id", "received_at", "id"),
        Index("ix_tickets_status_received_at_id", "status", "received_at", "id"),
        Index("ix_tickets_source_received_at_id", "source", "received_at", "id"),
        Index("ix_tickets_external_id", "external_id", postgresql_where=text("external_id IS NOT NULL")),
        Index("ix_tickets_due", "priority", "due_at", postgresql_where=text("status = 'queued'")),
        Index(
            "ix_tickets_suspect", "priority", "due_at", postgresql_where=text("status = 'queued' AND lost_leases > 0")
        ),
        Index("ix_tickets_leased", "lease_until", postgresql_where=text("status = 'working'")),
        Index("ix_tickets_search", text(SEARCHED), postgresql_using="gin"),
    )


class Revision(Base):
    """What a ticket said before its helpdesk sent other content under the same external id."""

    __tablename__ = "revisions"
    id: Mapped[RowNumber]
    ticket_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tickets.id"))
    run: Mapped[int]
    subject: Mapped[str]
    body: Mapped[str]
    raw: Mapped[bytes]
    content_sha256: Mapped[bytes]
    replaced_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (UniqueConstraint("ticket_id", "run"),)


class Prediction(Base):
    """What one llm version said of one field of one ticket in one run. Times are milliseconds; null is not known."""

    __tablename__ = "predictions"
    id: Mapped[RowNumber]
    ticket_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tickets.id"))
    run: Mapped[int]
    field: Mapped[str]
    llm_version_id: Mapped[int] = mapped_column(ForeignKey("llm_versions.id"))
    taxonomy_version: Mapped[int] = mapped_column(ForeignKey("taxonomy_versions.version"))
    role: Mapped[str]
    reason: Mapped[str]
    label: Mapped[str]
    confidence: Mapped[float | None]
    raw_confidence: Mapped[float | None]
    calibrated: Mapped[bool]
    label_mass: Mapped[float | None]
    margin: Mapped[float | None]
    scores: Mapped[dict[str, Any]]
    scores_complete: Mapped[bool]
    slot_ms: Mapped[float | None]
    load_ms: Mapped[float | None]
    prefill_ms: Mapped[float | None]
    decode_ms: Mapped[float | None]
    call_ms: Mapped[float | None]
    prompt_tokens: Mapped[int | None]
    cached_tokens: Mapped[int | None]
    cost: Mapped[float | None] = mapped_column(comment="in the currency of the prices")
    cut: Mapped[bool | None] = mapped_column(comment="whether the llm read only a part of the text")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    llm: Mapped[LlmVersion] = relationship(lazy="raise")

    __table_args__ = (
        UniqueConstraint("ticket_id", "run", "field", "llm_version_id"),
        CheckConstraint("role IN ('primary', 'fallback', 'shadow', 'last_resort')", name="role"),
        Index("ix_predictions_cost", "created_at", postgresql_where=text("cost IS NOT NULL")),
    )


class Triage(Base):
    """The decision for a ticket, run and field: who decided, how sure, and what to do with it."""

    __tablename__ = "triages"
    id: Mapped[RowNumber]
    ticket_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tickets.id"))
    run: Mapped[int]
    field: Mapped[str]
    taxonomy_version: Mapped[int] = mapped_column(ForeignKey("taxonomy_versions.version"))
    label: Mapped[str | None]
    confidence: Mapped[float | None]
    calibrated: Mapped[bool]
    decided_by: Mapped[str]
    llms: Mapped[list[str]]
    served_arm: Mapped[str | None] = mapped_column(comment="of the experiment, as really served: a or b")
    action: Mapped[str]
    reason: Mapped[str]
    alternatives: Mapped[list[Any]]
    wait_ms: Mapped[float]
    time_to_label_ms: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    received_at: Mapped[datetime] = mapped_column(comment="the ticket's, so that a filtered page needs one index")
    newest: Mapped[bool] = mapped_column(server_default="true", comment="of all runs; one for each ticket and field")
    __table_args__ = (
        UniqueConstraint("ticket_id", "run", "field"),
        CheckConstraint("action IN ('automate', 'suggest', 'review')", name="action"),
        Index("ix_triages_received_at", "field", "received_at", "ticket_id", postgresql_where=text("newest")),
        Index("uq_triages_newest", "ticket_id", "field", unique=True, postgresql_where=text("newest")),
        *(
            Index(f"ix_triages_{column}", "field", column, "received_at", "ticket_id", postgresql_where=text("newest"))
            for column in ("label", "action", "confidence")
        ),
        Index("ix_triages_llms", "llms", postgresql_using="gin", postgresql_where=text("newest")),
    )


class Verdict(Base):
    """What a human decided of a text, with its source. Never overwritten: of each source the newest counts."""

    __tablename__ = "verdicts"
    id: Mapped[RowNumber]
    ticket_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tickets.id"))
    content_sha256: Mapped[bytes] = mapped_column(
        comment="the ticket's when it was judged: another text, another truth"
    )
    field: Mapped[str]
    label: Mapped[str]
    source: Mapped[str]
    author: Mapped[str | None]
    taxonomy_version: Mapped[int] = mapped_column(ForeignKey("taxonomy_versions.version"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (
        CheckConstraint("source IN ('review', 'agent_change', 'agent_final', 'dataset', 'import')", name="source"),
        Index("ix_verdicts_ticket_id_field", "ticket_id", "field"),
    )


class Worker(Base):
    """A worker process and when it was last seen; what `/readyz` knows about engines."""

    __tablename__ = "workers"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    host: Mapped[str]
    pid: Mapped[int]
    llms: Mapped[dict[str, Any]]
    figures: Mapped[dict[str, Any]] = mapped_column(server_default=EMPTY_OBJECT, comment="counted since its start")
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    seen_at: Mapped[datetime] = mapped_column(server_default=NOW)
