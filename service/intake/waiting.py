"""`?wait=`: one poller per API process watches the tickets of all waiting requests. Called by the API.

Nobody holds a database connection while waiting; above MOST waiters a request is answered 202 at once.
"""

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import structlog

from service.outage import Outage

log = structlog.get_logger()
MOST = 200
INTERVAL_S = 0.05
LOOK_S = 5.0
READY = "SELECT id FROM tickets WHERE id = ANY(%s) AND status IN ('done', 'failed')"


class Waiting:
    """Wakes each waiter when its ticket is done or failed, when its time is over, or when the service stops."""

    def __init__(self, conninfo: str):
        self.conninfo = conninfo
        self.waiters: dict[UUID, set[asyncio.Event]] = {}
        self.count = 0
        self.some = asyncio.Event()
        self.closing = False
        self.outage = Outage()
        self.connection: psycopg.AsyncConnection[Any] | None = None
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
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

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
        try:
            while not self.closing:
                await self.some.wait()
                await self._try_to_look()
                await asyncio.sleep(INTERVAL_S)
        finally:
            await self._disconnect()

    async def _try_to_look(self) -> None:
        if not self.waiters:
            self.some.clear()
            return
        try:
            async with asyncio.timeout(LOOK_S):
                if self.connection is None:
                    self.connection = await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True)
                await self._look(self.connection)
        except (psycopg.Error, OSError, TimeoutError) as error:
            if self.outage.lasts():
                log.warning("waiting.postgres_away", error=type(error).__name__)
            await self._disconnect()
        else:
            if self.outage.over():
                log.info("waiting.postgres_back")

    async def _disconnect(self) -> None:
        if self.connection is not None:
            await self.connection.close()
            self.connection = None

    async def _look(self, connection: psycopg.AsyncConnection[Any]) -> None:
        cursor = await connection.execute(READY, (list(self.waiters),))
        for (ticket_id,) in await cursor.fetchall():
            for ready in self.waiters.get(ticket_id, ()):
                ready.set()
