"""Signing in with an API key, and out again."""

from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Depends, Request, Response

from models.errors import Unauthorized
from service.auth.callers import sent_from
from service.pages import session
from service.pages.form import Form
from service.pages.origin import own_origin
from service.pages.page import page, redirect

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def show_login(request: Request, next: str = "/") -> Response:  # noqa: A002 (the name in the address)
    return page(request, "login.html", next=local(next), error=None)


@router.post("/login", dependencies=[Depends(own_origin)])
async def sign_in(request: Request, form: Form) -> Response:
    """Starts a session for a good key; the key itself is not kept."""
    keys, wanted, address = request.app.state.keys, local(form.get("next", "/")), sent_from(request)
    try:
        caller = await keys.caller(f"Bearer {form.get('key', '').strip()}", address)
        known = await keys.by_id(caller.id, address)
    except Unauthorized:
        error = "This key is unknown or revoked. Where keys come from: triage keys create NAME --scope S."
        return page(request, "login.html", 401, next=wanted, error=error)
    answer = redirect(wanted)
    session.keep(request, answer, known)
    return answer


@router.post("/logout", dependencies=[Depends(own_origin)])
async def sign_out(request: Request) -> Response:
    answer = redirect("/login")
    answer.delete_cookie(session.COOKIE, httponly=True, samesite="strict")
    return answer


def local(address: str) -> str:
    """The path to go to after signing in; anything that could leave this site becomes the first page.

    A browser reads a backslash as a slash and drops tabs and newlines, so those never stay as they are.
    """
    plain = address.isprintable() and "\\" not in address and address.startswith("/") and not address.startswith("//")
    try:
        parts = urlsplit(address if plain else "/")
    except ValueError:
        return "/"
    if parts.scheme or parts.netloc or parts.path in ("/login", "/logout"):
        return "/"
    return quote(parts.path, safe="/%") + (f"?{quote(parts.query, safe='=&%+,:;@!$()*~.-_')}" if parts.query else "")
