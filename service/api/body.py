"""The body of a request that must be JSON by its own word. Used by the routers that read bytes."""

from fastapi import Request

from models.errors import WrongContentType
from service.intake.reading import read_body


def require_json(content_type: str | None) -> None:
    """Raises WrongContentType unless the header names JSON."""
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise WrongContentType("Send JSON with the header Content-Type: application/json.")


async def json_body(request: Request, limit: int, setting: str) -> bytes:
    """The body of a request that must be JSON."""
    require_json(request.headers.get("content-type"))
    return await read_body(request.stream(), limit, setting)
