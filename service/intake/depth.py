"""How many tickets wait, and for how long a full queue stays full: counted once a second, never on a request.

Called by the API, for the queue limit.
"""

import asyncio
from typing import Any

import psycopg
import structlog

from models.errors import QueueFull
from service.intake.drain_rate import HEARTBEATS, DrainRate
from service.outage import Outage

log = structlog.get_logger()
INTERVAL_S = 1.0
COUNT_S = 5.0
COUNT = "SELECT count(*) FROM (SELECT FROM tickets WHERE status = 'queued' LIMIT %s) waiting"


class Depth:
    """The cached depth of the queue, plus what this process added since it was read."""

    def __init__(self, conninfo: str, limit: int):
        self.conninfo = conninfo
        self.limit = limit
        self.waiting = 0
        self.drain_rate = DrainRate()
        self.outage = Outage()
        self.task = asyncio.create_task(self._run(), name="depth")

    def admit(self, tickets: int) -> None:
        """Counts tickets in, or raises QueueFull."""
        if (over := self.waiting + tickets - self.limit) > 0:
            # Room for some more than this caller needs: others come back too.
            wait = self.drain_rate.seconds_for(max(over, self.limit // 100))
            raise QueueFull(self._why(tickets), retry_after=wait)
        self.waiting += tickets

    def _why(self, tickets: int) -> str:
        if tickets > self.limit:
            return f"The queue takes {self.limit:,} tickets at most: send these {tickets:,} in smaller batches."
        return f"{self.waiting:,} tickets wait in a queue of at most {self.limit:,}; send this later."

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self.conninfo, autocommit=True, connect_timeout=5
                ) as connection:
                    await self._count(connection)
            except (psycopg.Error, OSError, TimeoutError) as error:
                self.waiting = 0  # nothing is known, and a guess that only grows would end in 429
                if self.outage.lasts():
                    log.warning("depth.postgres_away", error=type(error).__name__)
            await asyncio.sleep(INTERVAL_S)

    async def _count(self, connection: psycopg.AsyncConnection[Any]) -> None:
        while True:
            async with asyncio.timeout(COUNT_S):
                cursor = await connection.execute(COUNT, (self.limit + 1,))
                row = await cursor.fetchone()
                self.waiting = row[0] if row else 0
                self.drain_rate.heard(await (await connection.execute(HEARTBEATS)).fetchall())
            if self.outage.over():
                log.info("depth.postgres_back")
            await asyncio.sleep(INTERVAL_S)
