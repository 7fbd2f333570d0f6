"""Which tickets a question means, newest first by page, and one with everything said of it. Called by API and pages."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Engine, Select, select, tuple_
from sqlalchemy.orm import selectinload

from models.db import transaction
from models.errors import NotFound
from models.tables import Prediction, Ticket, Triage
from service.intake.reading import Whole
from service.tickets.shapes import cursor, read_cursor, ticket_row, ticket_whole, triage


class Filters(BaseModel):
    """What a list of tickets can be asked for; an unknown parameter is refused."""

    model_config = ConfigDict(extra="forbid")
    status: Literal["queued", "working", "done", "failed"] | None = None
    label: Whole | None = None
    source: Whole | None = None
    external_id: Whole | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Whole | None = None


def read_page(engine: Engine, filters: Filters) -> dict[str, Any]:
    """A page of tickets; `next_cursor` is null on the last one. `until` is exclusive."""
    query = _filtered(filters).options(selectinload(Ticket.triages))
    with transaction(engine) as session:
        found = session.scalars(query.limit(filters.limit + 1)).all()
    page = found[: filters.limit]
    items = [ticket_row(row) | {"triage": [triage(t) for t in row.triages]} for row in page]
    return {"items": items, "next_cursor": cursor(page[-1]) if len(found) > len(page) else None}


def _filtered(filters: Filters) -> Select[Ticket]:
    query = select(Ticket).order_by(Ticket.received_at.desc(), Ticket.id.desc())
    for name in ("status", "source", "external_id"):
        if (value := getattr(filters, name)) is not None:
            query = query.where(getattr(Ticket, name) == value)
    if filters.since is not None:
        query = query.where(Ticket.received_at >= filters.since)
    if filters.until is not None:
        query = query.where(Ticket.received_at < filters.until)
    if filters.label is not None:
        query = query.join(Triage, (Triage.ticket_id == Ticket.id) & (Triage.run == Ticket.run))
        query = query.where(Triage.label == filters.label)
    return query if filters.cursor is None else query.where(_after(*read_cursor(filters.cursor)))


def _after(when: datetime, ticket_id: UUID) -> Any:
    return tuple_(Ticket.received_at, Ticket.id) < (when, ticket_id)


def read_whole(engine: Engine, ticket_id: UUID) -> dict[str, Any]:
    """A ticket as JSON; raises NotFound."""
    everything = (
        selectinload(Ticket.triages),
        selectinload(Ticket.predictions).joinedload(Prediction.llm),
        selectinload(Ticket.verdicts),
    )
    with transaction(engine) as session:
        ticket = session.get(Ticket, ticket_id, options=everything)
        if ticket is None:
            raise NotFound(f"There is no ticket {ticket_id}.")
        return ticket_whole(ticket)
