"""Turns a request away while too many others wait for a thread, as they do when Postgres is frozen. Used by `app`."""

from anyio.to_thread import current_default_thread_limiter

from models.errors import Unavailable

MOST = 100


async def not_crowded() -> None:
    """Raises Unavailable, so that nobody waits longer than those before them can take."""
    if current_default_thread_limiter().statistics().tasks_waiting >= MOST:
        raise Unavailable("Too many requests wait already; try again shortly.", retry_after=5)
