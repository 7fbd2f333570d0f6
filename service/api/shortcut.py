"""The way of the busiest request past the framework's layers and routes, which cost as much as intake. For `app`."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import Endpoint, answered


class Shortcut:
    """Has POSTs to one path answered by their endpoint at once; the routes document it."""

    def __init__(self, app: ASGIApp, path: str, endpoint: Endpoint):
        self.app = app
        self.path = path
        self.endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self.path or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        answer = await answered(self.endpoint, Request(scope, receive))
        return await answer(scope, receive, send)
