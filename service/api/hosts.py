"""Which names the service answers to, so that a foreign name that points here reaches nothing. Used by `app`."""

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import problem
from service.settings import Settings

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?")
PROBES = {"/healthz", "/readyz"}  # load balancers ask by address


class KnownHosts:
    """Answers 400 to a request whose Host header is none of ours."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app = app
        more = (name.strip().lower() for name in settings.allowed_hosts.split(","))
        self.names = LOOPBACK | {settings.host.lower(), urlsplit(settings.public_url).hostname or "", *more} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES or self._known(scope):
            return await self.app(scope, receive, send)
        answer = problem(
            400, "Unknown host", "Triage does not go by this name: set TRIAGE_PUBLIC_URL or TRIAGE_ALLOWED_HOSTS."
        )
        return await answer(scope, receive, send)

    def _known(self, scope: Scope) -> bool:
        host = HOST.fullmatch(Headers(scope=scope).get("host", "").lower())
        return host is not None and (host[1] or host[2]) in self.names
