"""A watched browser window: an error in its console or a request to another host fails the test that opened it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page
from website import Site


@dataclass
class Watched:
    """A browser window, and what went wrong in it."""

    page: Page
    site: Site
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on(
            "console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._request)

    def _request(self, request: Any) -> None:
        ours = (str(self.site.api.base_url), "data:")
        if not request.url.startswith(ours):
            self.strangers.append(request.url)

    def open(self, path: str) -> Page:
        """One of our pages."""
        self.page.goto(str(self.site.api.base_url).rstrip("/") + path)
        return self.page

    def sign_in(self, *scopes: str) -> Page:
        """As a person does it."""
        self.open("/login")
        self.page.get_by_label("API key").fill(self.site.key(*(scopes or ("admin",))))
        self.page.get_by_role("button", name="Sign in").click()
        return self.page


@contextmanager
def window(chromium: Browser, site: Site, **more: Any) -> Iterator[Watched]:
    """A fresh window, as of another person; on closing, everything that went wrong in it fails the test."""
    context: BrowserContext = chromium.new_context(**more)
    watched = Watched(context.new_page(), site)
    yield watched
    context.close()
    assert watched.errors == []
    assert watched.strangers == []
