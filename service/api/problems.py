"""Every error as an RFC 9457 problem. Registered by `app`; no answer holds a traceback, a secret or a ticket's text."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from models.errors import TriageError
from service.api.request_ids import HEADER
from service.intake.reading import wrong

log = structlog.get_logger()
TYPE = "about:blank"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
Endpoint = Callable[[Request], Awaitable[Response]]


def problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """One problem document."""
    body = {"type": TYPE, "title": title, "status": status, "detail": detail}
    body |= {key: value for key, value in more.items() if value is not None}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def register(app: FastAPI) -> None:
    """Makes every way a request can fail answer with a problem."""
    app.add_exception_handler(TriageError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)


async def answered(endpoint: Endpoint, request: Request) -> Response:
    """The endpoint's answer, or the problem that it ran into, where no framework stands around it."""
    try:
        return await endpoint(request)
    except TriageError as error:
        return await _ours(request, error)
    except ClientDisconnect as error:
        return await _gone(request, error)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, TriageError)  # noqa: S101
    request.app.state.counts.refuse(request, error)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    if error.status == 401:
        # Why, is for the log alone: the sender must not learn which connections exist.
        log.info("refused", path=request.url.path, why=getattr(error, "__notes__", [error.message])[0])
        headers["WWW-Authenticate"] = "Bearer"
    return problem(error.status, error.title, error.message, headers, errors=error.errors)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return await _ours(request, wrong("request", error.errors(), skip=1))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(_methods(request))
    detail = str(error.detail)
    if error.status_code == 404:
        detail = "There is nothing at this address; /openapi.json lists what there is."
    elif error.status_code == 405 and "Allow" in headers:
        detail = f"This address takes {headers['Allow']} only."
    return problem(error.status_code, str(error.detail), detail, headers)


def _methods(request: Request) -> list[str]:
    """What the path takes, by all of its routes; the framework names those of the first one."""
    routes = request.app.router.routes
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


async def _gone(request: Request, error: Exception) -> Response:
    """The caller left while it was sending; nobody reads this."""
    return problem(400, "Request not finished", "The connection was closed before the whole request had come.")


async def _unexpected(request: Request, error: Exception) -> Response:
    # This answer is made outside of all that we put around a request, so its id comes from the scope.
    found = request.scope.get("request_id", "")
    request.app.state.counts.refuse(request, error)
    log.error("request.failed", error=type(error).__name__, path=request.url.path, request=found, exc_info=error)
    return problem(500, "Internal error", "Something failed on our side; the log has it.", {HEADER: found})
