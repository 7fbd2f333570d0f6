"""Who is signed in: a signed cookie that names an API key, checked on every request. Used by every page.

The cookie holds the key's id and when the session ends, signed with HMAC-SHA256 over the key's stored hash. So all API
processes and every restart agree on it without a secret of its own, and a revoked key takes its sessions with it.
"""

import base64
import binascii
import hmac
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from models.errors import Unauthorized
from service.auth.callers import sent_from
from service.auth.keys import Caller, Scope
from service.auth.known import Known

COOKIE = "triage_session"
LIFE = timedelta(hours=12)


def sign(known: Known, now: float) -> str:
    """The cookie's text for a session that starts now."""
    ends = int(now + LIFE.total_seconds())
    return f"{known.caller.id}.{ends}.{_mac(known.sha256, known.caller.id, ends)}"


def _mac(secret: bytes, key_id: UUID, ends: int) -> str:
    made = hmac.digest(secret, f"triage session {key_id} {ends}".encode(), "sha256")
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def read(cookie: str) -> tuple[UUID, int, str]:
    """(key id, end, signature) as claimed; raises Unauthorized for anything that we did not write."""
    try:
        key_id, ends, mac = cookie.split(".")
        return UUID(key_id), int(ends), mac
    except (ValueError, binascii.Error):
        raise Unauthorized("This session is not valid; sign in again.") from None


async def caller(request: Request) -> Caller:
    """Who is signed in; raises Unauthorized when nobody is, the session is over, or the key was revoked."""
    key_id, ends, mac = read(request.cookies.get(COOKIE, ""))
    known: Known = await request.app.state.keys.by_id(key_id, sent_from(request))
    good = hmac.compare_digest(mac.encode(), _mac(known.sha256, key_id, ends).encode())
    if not good or ends < time.time():
        raise Unauthorized("This session is over; sign in again.")
    return known.caller


def keep(request: Request, response: Response, known: Known) -> None:
    """Starts a session. A cookie for https never travels in the clear."""
    secure = request.app.state.loaded.settings.public_url.lower().startswith("https:")
    seconds = int(LIFE.total_seconds())
    response.set_cookie(
        COOKIE, sign(known, time.time()), max_age=seconds, httponly=True, samesite="strict", secure=secure
    )


def needs(scope: Scope) -> Callable[..., object]:
    """A dependency that gives who is signed in, if the key has the scope."""

    async def signed_in(request: Request, found: Annotated[Caller, Depends(caller)]) -> Caller:
        request.state.caller = found
        found.require(scope)
        return found

    return signed_in


TicketReader = Annotated[Caller, Depends(needs(Scope.TICKETS_READ))]
TicketWriter = Annotated[Caller, Depends(needs(Scope.TICKETS_WRITE))]
VerdictWriter = Annotated[Caller, Depends(needs(Scope.VERDICTS_WRITE))]
ReportReader = Annotated[Caller, Depends(needs(Scope.REPORTS_READ))]
Admin = Annotated[Caller, Depends(needs(Scope.ADMIN))]
