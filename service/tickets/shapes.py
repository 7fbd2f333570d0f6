"""The JSON shapes of answers, from rows. Used by the routers of the API and by the pages."""

import base64
import binascii
from datetime import datetime
from typing import Any
from uuid import UUID

from models.errors import InvalidRequest
from models.moment import moment
from models.tables import Prediction, Ticket, Triage, Verdict


def ticket_row(ticket: Ticket) -> dict[str, Any]:
    """A ticket as lists show it, without what was said of it."""
    return {
        "id": str(ticket.id),
        "status": ticket.status,
        "reason": ticket.last_error,
        "source": ticket.source,
        "external_id": ticket.external_id,
        "channel": ticket.channel,
        "language": ticket.language,
        "requester": ticket.requester,
        "subject": ticket.subject,
        "body": ticket.body,
        "repaired": ticket.repaired,
        "metadata": ticket.details,
        "created_at": moment(ticket.created_at),
        "received_at": moment(ticket.received_at),
        "run": ticket.run,
        "attempts": ticket.attempts,
        "erased_at": moment(ticket.erased_at),
        "shadow": ticket.shadow,
        "shadow_rate": ticket.shadow_rate,
        "experiment": ticket.experiment,
        "arm": ticket.arm,
        "url": f"/v1/tickets/{ticket.id}",
    }


def ticket_whole(ticket: Ticket) -> dict[str, Any]:
    """A ticket with its triages (newest run first), predictions and verdicts."""
    return ticket_row(ticket) | {
        "triage": [triage(row) for row in ticket.triages],
        "predictions": [prediction(row) | {"shadow_rate": ticket.shadow_rate} for row in ticket.predictions],
        "verdicts": [verdict(row) for row in ticket.verdicts],
        "wait_ms": ticket.triages[0].wait_ms if ticket.triages else None,
        "time_to_label_ms": ticket.triages[0].time_to_label_ms if ticket.triages else None,
    }


def triage(row: Triage) -> dict[str, Any]:
    """One decision."""
    names = ("field", "label", "confidence", "calibrated", "decided_by", "llms", "served_arm", "action", "reason",
             "alternatives")  # fmt: skip
    return {name: getattr(row, name) for name in (*names, "taxonomy_version", "run", "wait_ms", "time_to_label_ms")}


PREDICTION = (
    "field", "run", "role", "reason", "label", "confidence", "raw_confidence", "calibrated", "label_mass", "margin",
    "scores", "scores_complete", "slot_ms", "load_ms", "prefill_ms", "decode_ms", "call_ms", "prompt_tokens",
    "cached_tokens", "cost", "cut", "taxonomy_version",
)  # fmt: skip


def prediction(row: Prediction) -> dict[str, Any]:
    """What one llm version said, with the pin it came from."""
    llm = row.llm
    pin: dict[str, Any] = {
        "llm": llm.name,
        "digest": llm.digest,
        "engine": llm.engine,
        "engine_version": llm.engine_version,
    }
    pin |= {"prompt_version": llm.prompt_version, "calibration_id": llm.calibration_id or None, "demo": llm.demo}
    return pin | {name: getattr(row, name) for name in PREDICTION} | {"created_at": moment(row.created_at)}


def verdict(row: Verdict) -> dict[str, Any]:
    """What a human decided."""
    names = ("id", "field", "label", "source", "author", "taxonomy_version")
    return {name: getattr(row, name) for name in names} | {"created_at": moment(row.created_at)}


def cursor(ticket: Ticket) -> str:
    """Where the next page starts: after this ticket."""
    return base64.urlsafe_b64encode(f"{moment(ticket.received_at)} {ticket.id}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[datetime, UUID]:
    """(received_at, id) of the last ticket seen; raises InvalidRequest for anything we did not make."""
    try:
        when, _, ticket_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(" ")
        return datetime.fromisoformat(when), UUID(ticket_id)
    except (binascii.Error, UnicodeError, ValueError):
        raise InvalidRequest("cursor: take it unchanged from next_cursor of the page before.") from None
