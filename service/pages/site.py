"""All pages at once, for `app`: routes, static files, and errors that are pages."""

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.params import Depends

from service.pages import errors, home, login, report, tickets
from service.pages.assets import Assets


def register(app: FastAPI, dependencies: Sequence[Depends]) -> None:
    """Adds the pages, behind these; call it last, since their errors stand on top of the API's."""
    for room in (home, tickets, report, login):
        app.include_router(room.router, dependencies=dependencies)
    app.mount("/static", Assets(), name="static")
    errors.register(app)
