"""DELETE a ticket's text. Only for `admin`: a key that posts lies in a helpdesk, and nothing brings a text back."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request

from models.moment import moment
from service.auth.callers import Admin
from service.tickets import erasure

router = APIRouter(prefix="/v1/tickets", tags=["tickets"])


@router.delete("/{ticket_id}")
def erase_ticket(request: Request, caller: Admin, ticket_id: UUID) -> dict[str, Any]:
    """Erases text, requester and received bytes; predictions, decisions and verdicts stay. Twice answers the same."""
    ticket = erasure.erase(request.app.state.engine, ticket_id)
    when = moment(ticket.erased_at)
    return {"id": str(ticket.id), "status": ticket.status, "erased_at": when, "url": f"/v1/tickets/{ticket.id}"}
