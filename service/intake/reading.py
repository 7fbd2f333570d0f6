"""From a stream to bytes, and from JSON to a validated shape, each refused with a clear sentence. For API and pages."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from models.errors import InvalidRequest, TooLarge
from models.storable import BROKEN
from service.helpdesks.payload import read_time

BROKEN_TEXT = "must not contain NUL or lone surrogates"
# Where pydantic's own words say nothing to somebody who does not know it, or repeat what was sent.
SAID = {
    "string_unicode": BROKEN_TEXT,
    "extra_forbidden": "unknown key",
    "uuid_parsing": "must be an id such as 0190b6c2-93a1-7000-8000-000000000000",
}
Shape = TypeVar("Shape", bound=BaseModel)


def _whole(text: str) -> str:
    if BROKEN.search(text):
        raise ValueError(BROKEN_TEXT)
    return text


WHOLE = AfterValidator(_whole)  # stands behind limits of length: pydantic calls characters items that come after it
Whole = Annotated[str, WHOLE]


def _time(value: object) -> datetime:
    """By itself pydantic would take a number for Unix seconds."""
    try:
        found = read_time(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise ValueError("must be a time with its zone, such as 2026-01-31T12:00:00Z")
    return found


Time = Annotated[datetime, BeforeValidator(_time)]


async def read_body(stream: AsyncIterator[bytes], limit: int, setting: str) -> bytes:
    """The whole body; raises TooLarge as soon as more than `limit` bytes have come, whatever the headers claimed.

    `setting` is what the limit comes from.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"The request is larger than {limit} bytes; the setting {setting} limits it.")
        chunks.append(chunk)
    return b"".join(chunks)


def validated(shape: type[Shape], value: Any, what: str) -> Shape:
    """The value in its shape; raises InvalidRequest naming each wrong field, never repeating its content."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"A {what} is a JSON object.")
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise wrong(what, error.errors()) from None


def wrong(what: str, found: Sequence[Any], skip: int = 0) -> InvalidRequest:
    """The error to raise for pydantic's; `skip` leaves out the first parts of where each was found."""
    errors = [{"field": ".".join(map(str, e["loc"][skip:])), "message": message(e)} for e in found]
    named = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
    return InvalidRequest(f"The {what} is wrong: {named}.", errors=errors)


def message(error: Any) -> str:
    """What is wrong with a value, as the end of a sentence; never the value."""
    said = SAID.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    return said[:1].lower() + said[1:]
