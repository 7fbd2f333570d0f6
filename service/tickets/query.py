"""Which tickets a question means, newest first by page, and one with everything said of it. Called by API and pages."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Engine, Select, Subquery, select, text, tuple_
from sqlalchemy.orm import selectinload

from models.db import transaction
from models.errors import NotFound
from models.tables import SEARCHED, Prediction, Ticket, Triage
from service.intake.reading import Time, Whole
from service.tickets.shapes import cursor, read_cursor, ticket_row, ticket_whole, triage


def _worded(text: str) -> str:
    if not text.strip():
        raise ValueError("must hold a word to search for, or be left out")
    return text


def _given(text: str) -> str:
    if not text:
        raise ValueError("must not be empty; leave it out")
    return text


Given = Annotated[Whole, AfterValidator(_given)]
Share = Annotated[float, Field(ge=0, le=1)]


class Filters(BaseModel):
    """What a list of tickets can be narrowed to; an unknown parameter is refused.

    label, action, llm and the confidences ask for the newest decision of one field. `until` is exclusive. `q` is a
    full-text search in Postgres's web syntax: words, "a phrase", or, -without.
    """

    model_config = ConfigDict(extra="forbid")
    status: Literal["queued", "working", "done", "failed"] | None = None
    field: Given | None = None
    label: Given | None = None
    llm: Given | None = None
    action: Literal["automate", "suggest", "review"] | None = None
    min_confidence: Share | None = None
    max_confidence: Share | None = None
    source: Given | None = None
    external_id: Given | None = None
    since: Time | None = None
    until: Time | None = None
    q: Annotated[Whole, AfterValidator(_worded)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Given | None = None


def read_page(engine: Engine, filters: Filters) -> dict[str, Any]:
    """A page of tickets as JSON; `next_cursor` is null on the last one."""
    query = filtered(filters).options(selectinload(Ticket.triages)).limit(filters.limit + 1)
    with transaction(engine) as session:
        found = list(session.scalars(query))
    shown = found[: filters.limit]
    items = [ticket_row(row) | {"triage": [triage(t) for t in row.triages]} for row in shown]
    return {"items": items, "next_cursor": cursor(shown[-1]) if len(found) > len(shown) else None}


def read_whole(engine: Engine, ticket_id: UUID) -> dict[str, Any]:
    """A ticket as JSON with its triages (newest run first), predictions and verdicts; raises NotFound."""
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


def filtered(filters: Filters) -> Select[Ticket]:
    """The query of a page. Filters on decisions order by the copy of the time there, so that one index serves both."""
    decided, told = _decided(filters), _told(filters)
    when: Any = Ticket.received_at
    ident: Any = Ticket.id
    query = select(Ticket)
    if decided and told:
        when, ident = Triage.received_at, Triage.ticket_id
        query = query.join(Triage, ident == Ticket.id).where(Triage.newest, *decided)
    elif decided:
        keys = _keys(decided)
        when, ident = keys.c.received_at, keys.c.ticket_id
        query = query.join(keys, ident == Ticket.id)
    return query.where(*told, *_between(filters, when, ident)).order_by(when.desc(), ident.desc())


def _keys(decided: list[ColumnElement[bool]]) -> Subquery:
    """In order on their own, so that of a few decisions Postgres sorts the keys, and then reads a page of tickets.

    Without it, Postgres would read all those tickets before it sorts, or walk through the whole time to find a page.
    """
    when, ident = Triage.received_at, Triage.ticket_id
    return select(when, ident).where(Triage.newest, *decided).order_by(when.desc(), ident.desc()).subquery()


def _told(filters: Filters) -> list[ColumnElement[bool]]:
    """Conditions on the ticket itself."""
    names = ("status", "source", "external_id")
    asked = [getattr(Ticket, name) == value for name in names if (value := getattr(filters, name)) is not None]
    if filters.q is not None:
        asked.append(text(f"{SEARCHED} @@ websearch_to_tsquery('simple', :q)").bindparams(q=filters.q))
    return asked


def _decided(filters: Filters) -> list[ColumnElement[bool]]:
    """Conditions on the newest decision; without a field named it is `category`'s."""
    asked: list[ColumnElement[bool]] = []
    if filters.label is not None:
        asked.append(Triage.label == filters.label)
    if filters.action is not None:
        asked.append(Triage.action == filters.action)
    if filters.llm is not None:
        asked.append(Triage.llms.contains([filters.llm]))
    if filters.min_confidence is not None:
        asked.append(Triage.confidence >= filters.min_confidence)
    if filters.max_confidence is not None:
        asked.append(Triage.confidence <= filters.max_confidence)
    return [Triage.field == (filters.field or "category"), *asked] if asked or filters.field else []


def _between(filters: Filters, when: Any, ident: Any) -> list[ColumnElement[bool]]:
    asked: list[ColumnElement[bool]] = []
    if filters.since is not None:
        asked.append(when >= filters.since)
    if filters.until is not None:
        asked.append(when < filters.until)
    if filters.cursor is not None:
        asked.append(tuple_(when, ident) < read_cursor(filters.cursor))
    return asked
