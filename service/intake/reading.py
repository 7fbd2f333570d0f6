"""From a stream to bytes, and from JSON to a validated shape, each refused with a clear sentence. For API and pages."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError

from models.errors import InvalidRequest, TooLarge

BROKEN = re.compile("[\0\ud800-\udfff]")  # what JSON may carry and Postgres refuses
Shape = TypeVar("Shape", bound=BaseModel)


def _whole(text: str) -> str:
    if BROKEN.search(text):
        raise ValueError("must not contain NUL or lone surrogates")
    return text


Whole = Annotated[str, AfterValidator(_whole)]


async def read_body(stream: AsyncIterator[bytes], limit: int) -> bytes:
    """The whole body; raises TooLarge as soon as more than `limit` bytes have come, whatever the headers claimed."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"The request is larger than {limit} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


def validated(shape: type[Shape], value: Any, what: str) -> Shape:
    """The value in its shape; raises InvalidRequest naming each wrong field, never repeating its content."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"A {what} is a JSON object.")
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        errors = [{"field": ".".join(map(str, e["loc"])), "message": _message(e)} for e in error.errors()]
        named = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
        raise InvalidRequest(f"The {what} is wrong: {named}.", errors=errors) from None


def _message(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    return "unknown key" if error["type"] == "extra_forbidden" else message[:1].lower() + message[1:]
