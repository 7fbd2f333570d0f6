"""Who calls, as a route of the API asks for it: `caller: TicketReader` has a good key with that scope."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from service.auth.keys import Caller, Scope


def sent_from(request: Request) -> str | None:
    """The client's address; X-Forwarded-For is in it only from a proxy that uvicorn trusts (FORWARDED_ALLOW_IPS)."""
    return request.client.host if request.client else None


def needs(scope: Scope | None) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that gives the caller if its key has the scope; without a scope any good key will do."""

    async def caller(request: Request) -> Caller:
        found: Caller = await request.app.state.keys.caller(request.headers.get("authorization"), sent_from(request))
        if scope is not None:
            found.require(scope)
        return found

    return caller


AnyCaller = Annotated[Caller, Depends(needs(None))]
TicketWriter = Annotated[Caller, Depends(needs(Scope.TICKETS_WRITE))]
TicketReader = Annotated[Caller, Depends(needs(Scope.TICKETS_READ))]
VerdictWriter = Annotated[Caller, Depends(needs(Scope.VERDICTS_WRITE))]
ReportReader = Annotated[Caller, Depends(needs(Scope.REPORTS_READ))]
Admin = Annotated[Caller, Depends(needs(Scope.ADMIN))]
