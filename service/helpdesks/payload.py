"""Reading what programs and helpdesks send: JSON that may be slightly broken, and times. Called by API and adapters."""

import json
import re
from codecs import BOM_UTF8
from datetime import UTC, datetime
from typing import Any, NoReturn

import orjson

from models.errors import MalformedRequest

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def read_json(raw: bytes, *, lenient: bool = False) -> Any:
    """The decoded body; raises MalformedRequest that says where it breaks and nothing of what it holds.

    orjson refuses halves of emoji, which those send who cut text by UTF-16 units and which JSON's grammar allows, so
    there is a second reading. A helpdesk may also leave line breaks inside strings, from a template filled with a
    customer's text: `lenient` allows them. Nesting ends at about 1,000 levels, in either parser. A byte order mark,
    with which Windows begins texts, is passed over.
    """
    raw = raw.removeprefix(BOM_UTF8)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
    if not raw.strip():
        raise MalformedRequest("The body is empty: send JSON.")
    try:
        return json.loads(raw.decode(), strict=not lenient, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The body is not UTF-8 text at byte {error.start}, as JSON must be.") from None
    except RecursionError:
        raise MalformedRequest("The body is JSON that is nested deeper than about 1,000 levels.") from None
    except ValueError:
        raise MalformedRequest(f"The body is not valid JSON at {place}.") from None


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
