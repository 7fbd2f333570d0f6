"""The list of tickets with its filters, and the page of one ticket where people judge what was said of it."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError
from sqlalchemy import text

from models import taxonomy
from models.db import transaction
from models.errors import ConfigError, InvalidRequest
from models.llm import zero_shot
from models.llm.budget import BYTES_A_TOKEN
from models.llm.prompt import render
from models.llm.text import BUDGET, Prepared, fit, whole
from models.taxonomy import Taxonomy
from service.intake.reading import validated, wrong
from service.pages.form import Form, read_time
from service.pages.origin import own_origin
from service.pages.page import page, redirect
from service.pages.session import Admin, TicketReader, TicketWriter, VerdictWriter
from service.pages.shown import titles
from service.tickets import erasure, runs
from service.tickets.query import Filters, read_page, read_whole
from service.tickets.verdicts import VerdictIn, record

router = APIRouter(prefix="/tickets", include_in_schema=False)
TIMES = ("since", "until")
DECIDED = {"label", "action", "llm", "min_confidence", "max_confidence"}
# The verdicts on what a ticket says now; its helpdesk may have sent other content since.
TIMELY = text("""
    SELECT v.id FROM verdicts v JOIN tickets t ON t.id = v.ticket_id AND t.content_sha256 = v.content_sha256
    WHERE t.id = :ticket_id""")

# A new run and a failed ticket that was put back have a time that counts from there.
AGAIN = text("SELECT queued_at > received_at FROM tickets WHERE id = :ticket_id")


@router.get("")
def list_tickets(request: Request, caller: TicketReader) -> Response:
    """A page of tickets; wrong filters show the form again with what is wrong."""
    given = {name: value for name, value in request.query_params.items() if value.strip()}
    vocabulary = _vocabulary(request)
    try:
        found, error = read_page(request.app.state.engine, Filters.model_validate(_asked(given, vocabulary))), None
    except (ValidationError, InvalidRequest) as refused:
        found, error = {"items": [], "next_cursor": None}, _sentence(refused)
    shown = {"found": found, "given": given, "error": error, "vocabulary": vocabulary, "titles": _titles(vocabulary)}
    return page(request, "tickets.html", 422 if error else 200, **shown)


def _asked(given: dict[str, str], vocabulary: Taxonomy) -> dict[str, Any]:
    """The form's `field` says what other filters are about: by itself it must not hide tickets without a decision."""
    asked: dict[str, Any] = {name: read_time(value) if name in TIMES else value for name, value in given.items()}
    field = asked.pop("field", next(iter(vocabulary.fields_)))
    return asked if DECIDED.isdisjoint(asked) else asked | {"field": field}


def _sentence(error: ValidationError | InvalidRequest) -> str:
    if isinstance(error, InvalidRequest):
        return error.message
    return wrong("filter", error.errors()).message


def _vocabulary(request: Request) -> Taxonomy:
    with transaction(request.app.state.engine) as session:
        return taxonomy.active(session)[1]


def _titles(vocabulary: Taxonomy) -> dict[str, dict[str, str]]:
    return {name: titles(vocabulary, name) for name in vocabulary.fields_}


@router.get("/{ticket_id}")
def show_ticket(request: Request, caller: TicketReader, ticket_id: UUID) -> Response:
    ticket = read_whole(request.app.state.engine, ticket_id)
    with transaction(request.app.state.engine) as session:
        vocabulary = taxonomy.active(session)[1]
        timely = set(session.scalars(TIMELY, {"ticket_id": ticket_id}))
        again = session.scalar(AGAIN, {"ticket_id": ticket_id})
    shown: dict[str, Any] = {"vocabulary": vocabulary, "titles": _titles(vocabulary), "timely": timely, "again": again}
    return page(request, "ticket.html", ticket=ticket, prompts=_prompts(ticket), **shown)


def _prompts(ticket: dict[str, Any]) -> list[dict[str, str]]:
    """What the llms read, once for each field and prompt version; made again by the code that serves.

    Of an erased ticket nothing can be made again.
    """
    if ticket["erased_at"]:
        return []
    read = whole(ticket["subject"], ticket["body"])
    now = [p for p in ticket["predictions"] if p["run"] == ticket["run"]]
    wanted = sorted({(p["field"], p["prompt_version"]) for p in now})
    return [{"field": field, "version": version, "text": _prompt(read, field, version)} for field, version in wanted]


def _prompt(read: Prepared, field: str, version: str) -> str:
    """An untrained llm's codes are those of its vocabulary, which only its worker knows."""
    untrained = version.startswith("instruct-")
    try:
        text = fit(read, BYTES_A_TOKEN * zero_shot.BUDGET if untrained else BUDGET).text
        return render(text, field, version, "(Every field with its labels, each with its code.)" if untrained else "")
    except ConfigError as error:
        return error.message


@router.post("/{ticket_id}/verdicts", dependencies=[Depends(own_origin)])
def judge(request: Request, caller: VerdictWriter, ticket_id: UUID, form: Form) -> Response:
    """Keeps what somebody decided, under the name of the key they signed in with."""
    given = {name: form.get(name, "") for name in ("field", "label")}
    verdict = validated(VerdictIn, given | {"source": "review", "author": caller.name[:255]}, "verdict")
    with transaction(request.app.state.engine) as session:
        record(session, ticket_id, verdict)
    return redirect(f"/tickets/{ticket_id}#verdicts")


@router.post("/{ticket_id}/reclassify", dependencies=[Depends(own_origin)])
def reclassify(request: Request, caller: TicketWriter, ticket_id: UUID) -> Response:
    runs.reclassify(request.app.state.engine, ticket_id)
    request.app.state.bell.ring()
    return redirect(f"/tickets/{ticket_id}")


@router.post("/{ticket_id}/requeue", dependencies=[Depends(own_origin)])
def requeue(request: Request, caller: TicketWriter, ticket_id: UUID) -> Response:
    runs.requeue(request.app.state.engine, ticket_id)
    request.app.state.bell.ring()
    return redirect(f"/tickets/{ticket_id}")


@router.post("/{ticket_id}/erase", dependencies=[Depends(own_origin)])
def erase(request: Request, caller: Admin, ticket_id: UUID) -> Response:
    """As DELETE of the API does."""
    erasure.erase(request.app.state.engine, ticket_id)
    return redirect(f"/tickets/{ticket_id}")
