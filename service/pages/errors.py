"""Errors on pages are pages, and who is not signed in is asked to. Registered by `app` over the API's handlers."""

from collections.abc import Awaitable, Callable
from typing import Any, cast
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from models.errors import InvalidRequest, TriageError
from service.intake.reading import wrong
from service.pages.page import page, redirect

API = ("/v1/", "/healthz", "/readyz", "/metrics", "/openapi.json")
KEPT = {"allow", "retry-after", "x-request-id"}
Handler = Callable[[Request, Exception], Awaitable[Response]]


def register(app: FastAPI) -> None:
    """Answers with a page wherever the API's handlers would answer a browser with a problem."""
    for kind in (TriageError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _pages_beside(cast(Handler, app.exception_handlers[kind])))


def _pages_beside(api: Handler) -> Any:
    async def answer(request: Request, error: Exception) -> Response:
        # The API's handler runs in any case: it writes the log and decides the status.
        problem = await api(request, error)
        if _for_programs(request, error):
            return problem
        shown = _page(request, error, problem.status_code)
        shown.headers.update({name: value for name, value in problem.headers.items() if name in KEPT})
        return shown

    return answer


def _for_programs(request: Request, error: Exception) -> bool:
    """Whether a path is the API's, or nobody's and asked for by something that does not read HTML."""
    nobodys = isinstance(error, HTTPException) and "text/html" not in request.headers.get("accept", "")
    return nobodys or request.url.path.startswith(API)


def _page(request: Request, error: Exception, status: int) -> Response:
    if status == 401:
        return _sign_in(request)
    told = {"title": _title(error, status), "detail": _detail(error, status)}
    return page(request, "error.html", status, forbidden=status == 403, **told)


def _sign_in(request: Request) -> Response:
    """To the login and back. A link on another site brings no Strict cookie: only our own page asking again does."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method == "GET" and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return page(request, "again.html", 401, asked=asked)
    return redirect(f"/login?next={quote(asked if request.method == 'GET' else '/', safe='')}")


def _title(error: Exception, status: int) -> str:
    if isinstance(error, TriageError):
        return error.title
    return {404: "Not found", 405: "Not possible here", 422: InvalidRequest.title}.get(status, "Something failed")


def _detail(error: Exception, status: int) -> str:
    if isinstance(error, TriageError):
        return error.message
    if isinstance(error, RequestValidationError):
        return wrong("request", error.errors(), skip=1).message
    if status == 404:
        return "There is no such page."
    return "The request is not one that this page understands." if status < 500 else "The log has the reason."
