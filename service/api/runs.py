"""POST a new run of a ticket, or a failed ticket back into the queue."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request

from models.tables import Ticket
from service.auth.callers import TicketWriter
from service.tickets import runs

router = APIRouter(prefix="/v1/tickets", tags=["runs"])


@router.post("/{ticket_id}/reclassify", status_code=202)
def reclassify(request: Request, caller: TicketWriter, ticket_id: UUID) -> dict[str, Any]:
    """Opens the next run; older ones stay visible. A ticket that waits is left as it is; of an erased one it is 409."""
    return _queued(request, runs.reclassify(request.app.state.engine, ticket_id))


@router.post("/{ticket_id}/requeue", status_code=202)
def requeue(request: Request, caller: TicketWriter, ticket_id: UUID) -> dict[str, Any]:
    """Gives a failed ticket its attempts back; any other is left as it is, of an erased one it is 409."""
    return _queued(request, runs.requeue(request.app.state.engine, ticket_id))


def _queued(request: Request, ticket: Ticket) -> dict[str, Any]:
    request.app.state.bell.ring()
    return {"id": str(ticket.id), "status": ticket.status, "run": ticket.run, "url": f"/v1/tickets/{ticket.id}"}
