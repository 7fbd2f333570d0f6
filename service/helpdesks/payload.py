"""Reading what helpdesks send: JSON that may be slightly broken, and times. Called by the adapters."""

import json
import re
from datetime import UTC, datetime
from typing import Any, NoReturn

import orjson

from models.errors import MalformedRequest

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def read_json(raw: bytes) -> Any:
    """The decoded body; raises MalformedRequest that says where it breaks and nothing of what it holds.

    Nesting ends at about 1,000 levels, in either parser.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return _read_leniently(raw, f"line {error.lineno}, column {error.colno}")


def _read_leniently(raw: bytes, where: str) -> Any:
    # A helpdesk that fills a template with a customer's text may leave line breaks inside strings, and one that cuts
    # text by UTF-16 units leaves half an emoji. Both are real tickets, and orjson refuses them.
    try:
        return json.loads(raw.decode(), strict=False, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise MalformedRequest(f"The body is not JSON ({where}).") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def read_time(text: str) -> datetime:
    """An RFC 3339 time as UTC, cut to microseconds; raises ValueError for anything else, a missing zone included."""
    if not RFC3339.fullmatch(text.upper()):
        raise ValueError("not an RFC 3339 time")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("outside the years 1 to 9999") from None
