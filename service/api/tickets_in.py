"""POST tickets: one, many, or through a helpdesk's webhook. Answers only after the commit."""

import hashlib
import json
from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from models.errors import InvalidRequest, QueueFull, TooLarge, TriageError
from models.tables import BULK_PRIORITY
from service.api.body import json_body
from service.auth.callers import TicketWriter, needs
from service.auth.keys import Caller, Scope
from service.config import Config
from service.helpdesks.base import Correction, Ignored, Incoming, refuse
from service.helpdesks.payload import read_json
from service.intake.reading import read_body, validated, wrong
from service.intake.submission import NewTicket, Receipt, Submission
from service.intake.ticket import TicketIn, new_ticket, source_of, validate
from service.tickets.query import read_whole

log = structlog.get_logger()
router = APIRouter(tags=["tickets"])
BATCH = 1000
WAIT_MOST_S = 30
MOST_OF_A_TICKET = "TRIAGE_MAX_TICKET_BYTES"
REFUSED = "It was refused when it was first sent under this Idempotency-Key; send it under a new one."
WRITER = needs(Scope.TICKETS_WRITE)
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]


class Options(BaseModel):
    """What a POST may say beside its body."""

    wait: Annotated[float, Field(ge=0, le=WAIT_MOST_S)] = 0
    idempotency_key: Annotated[str | None, Field(min_length=1, max_length=255)] = None


def _documented(name: str, place: str, field: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": False, "schema": Options.model_json_schema()["properties"][field]}


ONE = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": TicketIn.model_json_schema()}}},
    "parameters": [_documented("wait", "query", "wait"), _documented("Idempotency-Key", "header", "idempotency_key")],
}


@router.post("/v1/tickets", status_code=202, openapi_extra=ONE)
async def post_ticket(request: Request) -> Response:
    """Takes one ticket; 202 once it is durable, or 200 with the result when `wait` seconds were enough for it."""
    caller = await WRITER(request)
    options = _options(request)
    state = request.app.state
    raw = await json_body(request, state.loaded.settings.max_ticket_bytes, MOST_OF_A_TICKET)
    ticket = _admit(request, caller, read_json(raw), raw)
    (receipt,) = await _commit(request, Submission([ticket], caller.id, options.idempotency_key, _hash(raw)))
    if options.wait and await state.waiting.until_ready(UUID(receipt.id), options.wait):
        with suppress(
            TriageError, SQLAlchemyError
        ):  # the ticket is committed: after an error the caller would send it again
            return JSONResponse(await run_in_threadpool(read_whole, state.engine, UUID(receipt.id)))
    return Response(orjson.dumps(_accepted(receipt)), 202, media_type="application/json")


def _refuse_others(request: Request, *names: str) -> None:
    """Raises InvalidRequest for query parameters of other names: a mistyped `wait` would be none."""
    if request.scope["query_string"]:  # most requests have none
        unknown = [name for name in request.query_params if name not in names]
        if unknown:
            raise wrong("request", [{"loc": [name], "type": "extra_forbidden"} for name in unknown])


def _options(request: Request) -> Options:
    _refuse_others(request, "wait")
    given = {"wait": request.query_params.get("wait"), "idempotency_key": request.headers.get("idempotency-key")}
    return validated(Options, {name: value for name, value in given.items() if value is not None}, "request")


@router.post("/v1/tickets/batch", status_code=202)
async def post_batch(request: Request, caller: TicketWriter, idempotency_key: IdempotencyKey = None) -> Response:
    """Takes up to 1000 tickets in one commit; a bad one becomes an error in its place and sinks no other."""
    _refuse_others(request)
    raw = await json_body(request, request.app.state.loaded.settings.max_request_bytes, "TRIAGE_MAX_REQUEST_BYTES")
    # In a thread, because a batch of 16 MB would keep every other request waiting for half a second.
    items = await run_in_threadpool(_admit_all, request, caller, raw)
    tickets = [item for item in items if isinstance(item, NewTicket)]
    bad = [place for place, item in enumerate(items) if not isinstance(item, NewTicket)]
    submission = Submission(tickets, caller.id, idempotency_key, _hash(raw), bad)
    receipts = iter(await _commit(request, submission))
    refused = set(submission.refused)
    answers = [_refused(item) if at in refused else _accepted(next(receipts)) for at, item in enumerate(items)]
    return JSONResponse({"items": answers}, 202)


@router.api_route("/v1/hooks/{connection}", methods=["GET", "HEAD"], include_in_schema=False)
async def probe_hook(connection: str) -> Response:
    """Helpdesks try an address before they save it; any name answers alike, so none can be guessed."""
    return Response(status_code=200)


@router.post("/v1/hooks/{connection}")
async def post_hook(request: Request, connection: str) -> Response:
    """Takes a helpdesk's webhook; an unknown connection and a bad signature are the same 401."""
    state = request.app.state
    raw = await read_body(request.stream(), state.loaded.settings.max_ticket_bytes, MOST_OF_A_TICKET)
    adapter = state.connections.get(connection)
    if adapter is None:
        raise refuse("unknown connection")
    headers = {name.lower(): value for name, value in request.headers.items()}
    adapter.verify(headers, raw)
    event = adapter.parse(headers, raw)
    if isinstance(event, Ignored):
        return JSONResponse({"status": "ignored", "reason": event.reason})
    if isinstance(event, Correction):
        return JSONResponse({"status": "ignored", "reason": "corrections from helpdesks are not read yet"})
    ticket = _from_helpdesk(event, raw, connection, state.loaded.config)
    (receipt,) = await _commit(request, Submission([ticket]))
    return JSONResponse(_accepted(receipt))


def _from_helpdesk(event: Incoming, raw: bytes, connection: str, config: Config) -> NewTicket:
    given = {name: value for name, value in vars(event).items() if value not in (None, {})}
    if event.created_at is not None:
        given["created_at"] = event.created_at.isoformat()
    return new_ticket(validate(given), raw, source=connection, config=config)


async def _commit(request: Request, submission: Submission) -> list[Receipt]:
    state = request.app.state
    await _find_room(state, submission)
    receipts: list[Receipt] = await state.door.commit(submission)
    state.counts.taken(submission)
    state.bell.ring()
    log.debug("tickets.taken", tickets=[receipt.id for receipt in receipts])
    return receipts


async def _find_room(state: Any, submission: Submission) -> None:
    """Raises QueueFull, unless this was taken before: it is answered as then, and adds nothing to the queue."""
    try:
        state.depth.admit(len(submission.tickets))
    except QueueFull:
        with suppress(TimeoutError, TriageError):
            if await state.replays.taken(submission):
                return
        raise


def _batch(value: Any) -> list[Any]:
    items = value.get("tickets") if isinstance(value, dict) and set(value) == {"tickets"} else None
    if not isinstance(items, list) or not 1 <= len(items) <= BATCH:
        raise InvalidRequest(f'A batch is {{"tickets": [...]}} with 1 to {BATCH} tickets.')
    return items


def _admit_all(request: Request, caller: Caller, raw: bytes) -> list[NewTicket | dict[str, Any]]:
    return [_admit_item(request, caller, item) for item in _batch(read_json(raw))]


def _admit_item(request: Request, caller: Caller, item: Any) -> NewTicket | dict[str, Any]:
    """A ticket of a batch, or its error. Its received bytes are the item written again, since a batch has one body."""
    raw = json.dumps(item, ensure_ascii=False).encode("utf-8", "surrogatepass")
    limit = request.app.state.loaded.settings.max_ticket_bytes
    try:
        if len(raw) > limit:
            raise TooLarge(f"The ticket is larger than {limit} bytes; the setting {MOST_OF_A_TICKET} limits it.")
        return _admit(request, caller, item, raw, BULK_PRIORITY)
    except TriageError as error:
        return _error(error)


def _admit(request: Request, caller: Caller, value: Any, raw: bytes, priority: int = 1) -> NewTicket:
    ticket = validate(value)
    source = source_of(ticket, caller.source)
    config = request.app.state.loaded.config
    return new_ticket(ticket, raw, source=source, config=config, priority=priority)


def _accepted(receipt: Receipt) -> dict[str, Any]:
    return receipt.as_json() | {"url": f"/v1/tickets/{receipt.id}"}


def _refused(item: NewTicket | dict[str, Any]) -> dict[str, Any]:
    """An item of a batch and its error; it would be a ticket today if a limit was raised since it was first sent."""
    return {"error": _error(InvalidRequest(REFUSED)) if isinstance(item, NewTicket) else item}


def _error(error: TriageError) -> dict[str, Any]:
    return {"status": error.status, "title": error.title, "detail": error.message}


def _hash(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
