"""The body of a request: counted while it streams, and JSON by its own word. Used by the routers that read bytes."""

from collections.abc import AsyncIterator

from fastapi import Request

from models.errors import TooLarge, WrongContentType


def require_json(content_type: str | None) -> None:
    """Raises WrongContentType unless the header names JSON."""
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise WrongContentType("Send JSON with the header Content-Type: application/json.")


async def json_body(request: Request, limit: int) -> bytes:
    """The body of a request that must be JSON."""
    require_json(request.headers.get("content-type"))
    return await read_body(request.stream(), limit)


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
