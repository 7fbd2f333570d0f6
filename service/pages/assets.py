"""Scripts and styles: ours, and Chart.js as its wheel ships it. Mounted by `site`; needs no key."""

from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.staticfiles import StaticFiles


class Assets(StaticFiles):
    """Files that a browser keeps and asks about each time, so that an upgrade shows at once."""

    def __init__(self) -> None:
        ours = Path(__file__).parent / "static"
        super().__init__(directory=ours, packages=[("chartkick", "django/static/chartkick")])

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers.update({"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"})
        return answer
