"""One HTTP request whose whole answer has a deadline and a size. Used by `ollama_http` and `openai_http`."""

import time
from dataclasses import dataclass

import httpx

from models.errors import EngineError


@dataclass(frozen=True)
class Reply:
    """An answer that was read to its end."""

    status: int
    headers: httpx.Headers
    content: bytes


def exchange(
    client: httpx.Client, request: httpx.Request, *, deadline: float, connect_s: float, most_bytes: int
) -> Reply:
    """Reads piece by piece, because a server that drips would keep each single timeout.

    Raises what httpx raises, ReadTimeout after the deadline too, and EngineError for an answer that is too long.
    """
    left = max(0.001, deadline - time.monotonic())
    request.extensions["timeout"] = httpx.Timeout(left, connect=min(left, connect_s)).as_dict()
    response = client.send(request, stream=True)
    try:
        whole = bytearray()
        for piece in response.iter_bytes():
            whole += piece
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout("the answer was not over in time", request=request)
            if len(whole) > most_bytes:
                raise EngineError(f"{request.url.host} answered with more than {most_bytes >> 20} MiB.")
    finally:
        response.close()
    return Reply(response.status_code, response.headers, bytes(whole))
