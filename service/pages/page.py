"""HTML answers: templates that escape everything, and the headers every page carries. Used by all pages."""

from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from service.config import Config
from service.pages import shown

HERE = Path(__file__).parent
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    # With no-referrer a browser would send "Origin: null" from our own forms; this too tells other sites nothing.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters.update(shown.FILTERS)


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page; the templates know who is signed in, where they are, and whether demo llms are in use."""
    values |= {
        "signed_in": getattr(request.state, "caller", None),
        "here": request.url.path,
        "demo": demo_llms(request.app.state.loaded.config),
    }
    return HTMLResponse(templates.get_template(template).render(values), status, HEADERS)


def redirect(path: str) -> Response:
    """Sends the browser on with a GET to one of our own paths."""
    return RedirectResponse(path, 303, HEADERS)


def demo_llms(config: Config) -> list[str]:
    """Names of the llms in the policy that are only demonstrations."""
    names = [name for name in (config.policy.primary, config.policy.fallback) if name is not None]
    return [n for n in names if any(str(v).startswith("demo:") for v in config.llms[n].model_dump().values())]
