"""Whether a request that changes something comes from our own pages. Used by every page that takes a POST."""

from urllib.parse import urlsplit

from fastapi import Request

from models.errors import Forbidden


def own_origin(request: Request) -> None:
    """Raises Forbidden unless the browser says that one of our own pages sent this; a program uses the API instead."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin", "null")
    # Browsers send no Sec-Fetch-Site to plain http on a network, and old ones never do; then the origin decides alone.
    ours = site == "same-origin" if origin == "null" else site in (None, "same-origin") and _ours(request, origin)
    if not ours:
        raise Forbidden("This came from another site, so nothing was changed. Open Triage itself and try there.")


def _ours(request: Request, origin: str) -> bool:
    """A proxy may have changed the Host header, so the public address counts as well as the one that was asked for."""
    try:
        given, public = urlsplit(origin), urlsplit(request.app.state.loaded.settings.public_url)
    except ValueError:
        return False
    return bool(given.netloc) and (given[:2] == public[:2] or given.netloc == request.headers.get("host"))
