"""The first page: four questions over a day, a week or a month, and a box that classifies a pasted ticket."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from models import taxonomy
from models.db import transaction
from models.errors import TooLarge
from service.auth.keys import Caller
from service.intake.submission import NewTicket, Submission
from service.intake.ticket import TicketIn, new_ticket
from service.pages import figures, state
from service.pages.form import Form
from service.pages.origin import own_origin
from service.pages.page import page, redirect
from service.pages.session import TicketReader, TicketWriter
from service.pages.shown import titles

router = APIRouter(include_in_schema=False)
WAIT_S = 10
SOURCE = "page"
FIELD = "category"
Window = Annotated[Literal["24h", "7d", "30d"], Query()]


@router.get("/")
def show_home(request: Request, caller: TicketReader, window: Window = "24h") -> Response:
    with transaction(request.app.state.engine) as session:
        _, vocabulary = taxonomy.active(session)
        field = FIELD if FIELD in vocabulary.fields_ else next(iter(vocabulary.fields_))
        found = figures.read(session, window, field, request.app.state.loaded.settings.queue_limit)
    on, sentence = state.sentence(found.queue, found.workers)
    values: dict[str, Any] = {"on": on, "sentence": sentence, "field": field, "titles": titles(vocabulary, field)}
    values["since"] = found.since.isoformat(timespec="seconds").replace("+00:00", "Z")
    return page(request, "home.html", found=found, window=window, windows=figures.WINDOWS, **values)


@router.post("/classify", dependencies=[Depends(own_origin)])
async def classify(request: Request, caller: TicketWriter, form: Form) -> Response:
    """Takes a pasted ticket like any other, waits for its result, and shows its page in either case."""
    service = request.app.state
    ticket = _pasted(request, caller, form.get("body", "").replace("\r\n", "\n"))
    service.depth.admit(1)
    await service.door.commit(Submission([ticket]))
    service.bell.ring()
    await service.waiting.until_ready(ticket.id, WAIT_S)
    return redirect(f"/tickets/{ticket.id}")


def _pasted(request: Request, caller: Caller, body: str) -> NewTicket:
    loaded = request.app.state.loaded
    raw, limit = body.encode(), loaded.settings.max_ticket_bytes
    if len(raw) > limit:
        raise TooLarge(f"The ticket is larger than {limit} bytes; the setting TRIAGE_MAX_TICKET_BYTES limits it.")
    return new_ticket(TicketIn(body=body), raw, source=caller.source or SOURCE, config=loaded.config)
