"""Read tickets back: one with everything said of it, or a filtered list, newest first."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from service.auth.callers import TicketReader
from service.tickets import query
from service.tickets.query import Filters

router = APIRouter(prefix="/v1/tickets", tags=["tickets"])


@router.get("")
def list_tickets(request: Request, caller: TicketReader, filters: Annotated[Filters, Query()]) -> dict[str, Any]:
    """A page of tickets, newest first; `next_cursor` is null on the last one."""
    return query.read_page(request.app.state.engine, filters)


@router.get("/{ticket_id}")
def get_ticket(request: Request, caller: TicketReader, ticket_id: UUID) -> dict[str, Any]:
    """One ticket with its triages (newest run first), every prediction and every verdict."""
    return query.read_whole(request.app.state.engine, ticket_id)
