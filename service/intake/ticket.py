"""What a ticket may look like on the way in, and how it becomes a `NewTicket`. Called by the API and the hooks."""

import hashlib
import json
import math
import random
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from models.errors import InvalidRequest
from models.storable import storable
from models.tables import new_id
from service.config import Config
from service.experiments.assignment import running, unit
from service.intake.reading import WHOLE, Time, validated
from service.intake.submission import NewTicket

METADATA_BYTES = 16 << 10
METADATA_DEPTH = 10
INT64 = 1 << 63


def _dated(value: datetime) -> datetime:
    if not 1970 <= value.year <= 2200:
        raise ValueError("must lie between the years 1970 and 2200")
    return value


def _small(value: dict[str, Any]) -> dict[str, Any]:
    _check(value, METADATA_DEPTH)
    if len(_encoded(value)) > METADATA_BYTES:
        raise ValueError(f"must be at most {METADATA_BYTES} bytes of JSON")
    return value


def _encoded(value: Any) -> bytes:
    """JSON in UTF-8, lone surrogates too: sizes are those of the text, not of its escapes."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _check(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth == 0:
            raise ValueError(f"must not be nested deeper than {METADATA_DEPTH}")
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, depth - 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must hold finite numbers only")
    elif isinstance(value, int) and not -INT64 <= value < INT64:
        raise ValueError("must hold numbers of at most 64 bits")


Name = Annotated[str, StringConstraints(min_length=1, max_length=255), WHOLE]
Short = Annotated[str, StringConstraints(max_length=255)]


class TicketIn(BaseModel):
    """The body of POST /v1/tickets. Unknown keys are refused by name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    subject: str = ""
    body: str
    external_id: Name | None = None
    source: Name | None = None
    language: Short | None = None
    channel: Short | None = None
    requester: Short | None = None
    created_at: Annotated[Time, AfterValidator(_dated)] | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(_small)] = {}


def validate(value: Any) -> TicketIn:
    """A ticket from parsed JSON; raises InvalidRequest naming each wrong field, never repeating its content."""
    return validated(TicketIn, value, "ticket")


def new_ticket(ticket: TicketIn, raw: bytes, *, source: str, config: Config, priority: int = 1) -> NewTicket:
    """The row of a ticket: its text repaired where Postgres could not hold it, its coin and its arm drawn here."""
    ticket_id, rate = new_id(), config.policy.shadow_rate
    experiment = running(config, datetime.now(UTC))
    details = _repair_all(ticket.metadata)
    texts = {name: _repair(getattr(ticket, name)) for name in ("subject", "body", "language", "channel", "requester")}
    repaired = details != ticket.metadata or any(text != getattr(ticket, name) for name, text in texts.items())
    return NewTicket(
        id=ticket_id,
        source=source,
        external_id=ticket.external_id,
        channel=texts["channel"],
        language=texts["language"],
        requester=texts["requester"],
        subject=texts["subject"] or "",
        body=texts["body"] or "",
        repaired=repaired,
        raw=raw,
        content_sha256=hashlib.sha256(orjson.dumps([texts["subject"], texts["body"]])).digest(),
        details=json.dumps(details) if details else "{}",
        created_at=ticket.created_at,
        priority=priority,
        shadow=random.random() < rate,
        shadow_rate=rate,
        experiment=None if experiment.implied else experiment.name,
        arm=experiment.arm(unit(ticket.requester, ticket.external_id, str(ticket_id))) if experiment.serves else None,
    )


def source_of(ticket: TicketIn, fixed: str | None) -> str:
    """The ticket's source: fixed by key or connection where that has one, else its own, else `api`."""
    if fixed is None:
        return ticket.source or "api"
    if ticket.source not in (None, fixed):
        raise InvalidRequest(f"source: this key posts tickets of the source {fixed!r} only: name that one, or none.")
    return fixed


def _repair(text: str | None) -> str | None:
    return text if text is None else storable(text)


def _repair_all(value: Any) -> Any:
    if isinstance(value, str):
        return _repair(value)
    if isinstance(value, dict):
        return {_repair(key): _repair_all(item) for key, item in value.items()}
    return [_repair_all(item) for item in value] if isinstance(value, list) else value
