"""Read tickets back: one with everything said of it, or a filtered list, newest first."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sqlalchemy import Engine

from models.db import transaction
from service import lookup
from service.api.schemas import ticket_row, ticket_whole, triage
from service.auth import TicketReader
from service.lookup import Filters

router = APIRouter(prefix="/v1/tickets", tags=["tickets"])


@router.get("")
def list_tickets(request: Request, caller: TicketReader, filters: Annotated[Filters, Query()]) -> dict[str, Any]:
    """A page of tickets, newest first; `next_cursor` is null on the last one."""
    with transaction(request.app.state.engine) as session:
        found, cursor = lookup.page(session, filters)
    items = [ticket_row(row) | {"triage": [triage(t) for t in row.triages]} for row in found]
    return {"items": items, "next_cursor": cursor}


@router.get("/{ticket_id}")
def get_ticket(request: Request, caller: TicketReader, ticket_id: UUID) -> dict[str, Any]:
    """One ticket with its triages (newest run first), every prediction and every verdict."""
    return read_whole(request.app.state.engine, ticket_id)


def read_whole(engine: Engine, ticket_id: UUID) -> dict[str, Any]:
    """A ticket as JSON; raises NotFound."""
    with transaction(engine) as session:
        return ticket_whole(lookup.whole(session, ticket_id))
