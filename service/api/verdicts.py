"""POST what a human decided about a ticket."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from models.db import transaction
from service.api.body import json_body
from service.auth.callers import VerdictWriter
from service.helpdesks.payload import read_json
from service.intake.reading import validated
from service.tickets.shapes import verdict
from service.tickets.verdicts import VerdictIn, record

router = APIRouter(prefix="/v1/tickets", tags=["verdicts"])
SHAPE = {"requestBody": {"content": {"application/json": {"schema": VerdictIn.model_json_schema()}}}}


@router.post("/{ticket_id}/verdicts", status_code=201, openapi_extra=SHAPE)
async def post_verdict(request: Request, caller: VerdictWriter, ticket_id: UUID) -> Response:
    """Records a verdict: 201, or 200 when the newest one of this field and source says the same already."""
    raw = await json_body(request, request.app.state.loaded.settings.max_request_bytes, "TRIAGE_MAX_REQUEST_BYTES")
    given = validated(VerdictIn, read_json(raw), "verdict")
    answer, is_new = await run_in_threadpool(_store, request.app.state.engine, ticket_id, given)
    return JSONResponse(answer, 201 if is_new else 200)


def _store(engine: Engine, ticket_id: UUID, given: VerdictIn) -> tuple[dict[str, Any], bool]:
    with transaction(engine) as session:
        row, is_new = record(session, ticket_id, given)
        session.flush()
        session.refresh(row)
        return verdict(row), is_new
