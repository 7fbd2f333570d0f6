"""An id for each request: in the answer's X-Request-ID, and in every line that is logged for it. Used by `app`."""

import os
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

HEADER = "X-Request-ID"
# What a proxy or client may call a request; anything else could write what it likes into the log.
SANE = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class RequestIds:
    """Takes over a caller's id if it is sane, else makes one."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = found = _given(scope) or os.urandom(8).hex()
        header = (HEADER.lower().encode(), found.encode())

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        bind_contextvars(request=found)  # in the task of this request, which nobody has to unbind
        await self.app(scope, receive, answer)


def _given(scope: Scope) -> str | None:
    name = HEADER.lower().encode()
    given = next((value for key, value in scope["headers"] if key == name), b"")
    return given.decode() if SANE.fullmatch(given) else None
