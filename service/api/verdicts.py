"""POST what a human decided about a ticket."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from models import taxonomy
from models.db import transaction
from models.errors import InvalidRequest, NotFound
from models.tables import Ticket, Verdict
from service.api.body import json_body
from service.api.schemas import verdict
from service.auth import VerdictWriter
from service.intake.reading import Whole, parse_json, validated

router = APIRouter(prefix="/v1/tickets", tags=["verdicts"])


class VerdictIn(BaseModel):
    """A label for a field, and where the judgement comes from."""

    model_config = ConfigDict(extra="forbid")
    field: Whole
    label: Whole
    source: Literal["review", "agent_change", "agent_final", "dataset", "import"] = "review"
    author: Annotated[Whole, StringConstraints(max_length=255)] | None = None


SHAPE = {"requestBody": {"content": {"application/json": {"schema": VerdictIn.model_json_schema()}}}}


@router.post("/{ticket_id}/verdicts", status_code=201, openapi_extra=SHAPE)
async def post_verdict(request: Request, caller: VerdictWriter, ticket_id: UUID) -> Response:
    """Records a verdict: 201, or 200 when the newest one of this field and source says the same already."""
    raw = await json_body(request, request.app.state.loaded.settings.max_request_bytes)
    given = validated(VerdictIn, parse_json(raw), "verdict")
    answer, is_new = await run_in_threadpool(_store, request.app.state.engine, ticket_id, given)
    return JSONResponse(answer, 201 if is_new else 200)


def _store(engine: Engine, ticket_id: UUID, given: VerdictIn) -> tuple[dict[str, Any], bool]:
    with transaction(engine) as session:
        row, is_new = record(session, ticket_id, given)
        session.flush()
        session.refresh(row)
        return verdict(row), is_new


def record(session: Session, ticket_id: UUID, given: VerdictIn) -> tuple[Verdict, bool]:
    """The verdict's row and whether it is new. The ticket's row is locked, so the same verdict twice is one row."""
    if session.scalars(select(Ticket.id).where(Ticket.id == ticket_id).with_for_update()).first() is None:
        raise NotFound(f"There is no ticket {ticket_id}.")
    version, vocabulary = taxonomy.active(session)
    field = vocabulary.field(given.field)
    if field is None:
        raise InvalidRequest(f"field: there is none like this; there are {', '.join(vocabulary.fields_)}.")
    if field.label(given.label) is None:
        raise InvalidRequest("label: the field has none like this; see GET /v1/taxonomy.")
    same = select(Verdict).where(
        Verdict.ticket_id == ticket_id, Verdict.field == given.field, Verdict.source == given.source
    )
    newest = session.scalars(same.order_by(Verdict.id.desc()).limit(1)).first()
    if newest is not None and newest.label == given.label:
        return newest, False
    row = Verdict(ticket_id=ticket_id, taxonomy_version=version, **given.model_dump())
    session.add(row)
    return row, True
