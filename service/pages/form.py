"""What people enter: the fields of a posted form, and days from a calendar. Used by the pages that take them."""

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from models.errors import MalformedRequest, WrongContentType
from service.intake.reading import read_body


async def read_form(request: Request) -> dict[str, str]:
    """The fields by name, the last of each; a form is no larger than a ticket whose every byte is escaped."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise WrongContentType("Pages take forms; programs use the API.")
    raw = await read_body(
        request.stream(), 3 * request.app.state.loaded.settings.max_ticket_bytes, "TRIAGE_MAX_TICKET_BYTES"
    )
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=20, errors="strict"))
    except ValueError:
        raise MalformedRequest("The form cannot be read.") from None


Form = Annotated[dict[str, str], Depends(read_form)]


def read_time(value: str | None) -> str | None:
    """A day means its first moment in UTC; an empty field is none; a whole time stays as it is."""
    return f"{value}T00:00:00Z" if value and len(value) == len("2026-01-31") else value or None
