"""`?wait=`: one poller per API process watches the tickets of all waiting requests. Called by the API.

Nobody holds a database connection while waiting; above MOST waiters a request is answered 202 at once.
"""

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import structlog

log = structlog.get_logger()
MOST = 200
INTERVAL_S = 0.05
READY = "SELECT id FROM tickets WHERE id = ANY(%s) AND status IN ('done', 'failed')"


class Waiting:
    """Wakes each waiter when its ticket is done or failed, when its time is over, or when the service stops."""

    def __init__(self, conninfo: str):
        self.conninfo = conninfo
        self.waiters: dict[UUID, set[asyncio.Event]] = {}
        self.count = 0
        self.some = asyncio.Event()
        self.closing = False
        self.task = asyncio.create_task(self._run(), name="waiting")

    async def until_ready(self, ticket_id: UUID, seconds: float) -> bool:
        """Whether the ticket was done or failed within the time; False at once when too many wait already."""
        if self.closing or self.count >= MOST or seconds <= 0:
            return False
        ready = asyncio.Event()
        self._add(ticket_id, ready)
        try:
            async with asyncio.timeout(seconds):
                await ready.wait()
        except TimeoutError:
            return False
        finally:
            self._remove(ticket_id, ready)
        return not self.closing

    def end(self) -> None:
        """Lets every waiter go with False; later ones are not taken."""
        self.closing = True
        for ready in [event for events in self.waiters.values() for event in events]:
            ready.set()

    async def close(self) -> None:
        self.end()
        self.some.set()
        await self.task

    def _add(self, ticket_id: UUID, ready: asyncio.Event) -> None:
        self.waiters.setdefault(ticket_id, set()).add(ready)
        self.count += 1
        self.some.set()

    def _remove(self, ticket_id: UUID, ready: asyncio.Event) -> None:
        self.count -= 1
        self.waiters[ticket_id].discard(ready)
        if not self.waiters[ticket_id]:
            del self.waiters[ticket_id]

    async def _run(self) -> None:
        connection: psycopg.AsyncConnection[Any] | None = None
        while not self.closing:
            await self.some.wait()
            if not self.waiters:
                self.some.clear()
                continue
            try:
                connection = connection or await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True)
                await self._look(connection)
            except (psycopg.Error, OSError) as error:
                log.warning("waiting.postgres_away", error=type(error).__name__)
                await _close(connection)
                connection = None
            await asyncio.sleep(INTERVAL_S)
        await _close(connection)

    async def _look(self, connection: psycopg.AsyncConnection[Any]) -> None:
        cursor = await connection.execute(READY, (list(self.waiters),))
        for (ticket_id,) in await cursor.fetchall():
            for ready in self.waiters.get(ticket_id, ()):
                ready.set()


async def _close(connection: psycopg.AsyncConnection[Any] | None) -> None:
    if connection is not None:
        await connection.close()
