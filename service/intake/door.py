"""The group commit: concurrent submissions share one transaction, and each caller is answered after its commit.

Called by the API. One task per API process writes; it never dies, whatever a ticket holds or Postgres does.
"""

import asyncio
from collections import deque
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg.errors import ProgramLimitExceeded

from models.db import SESSION
from models.errors import InvalidRequest, QueueFull, TriageError, Unavailable
from service.intake.rows import write
from service.intake.submission import Receipt, Submission

log = structlog.get_logger()
GROUP_TICKETS = 1000
GROUP_BYTES = 8 << 20
PENDING = 20_000
FLUSH_TIMEOUT_S = 20
DEADLOCK_RETRIES = 5
DATA = (psycopg.DataError, psycopg.IntegrityError, ProgramLimitExceeded, UnicodeError)


class Door:
    """Takes submissions and commits them in groups. One POST alone waits for nobody."""

    def __init__(self, conninfo: str):
        self.conninfo = conninfo
        self.pending: deque[Submission] = deque()
        self.work = asyncio.Event()
        self.closing = False
        self.connection: psycopg.AsyncConnection[Any] | None = None
        self.task = asyncio.create_task(self._run(), name="door")

    async def commit(self, submission: Submission) -> list[Receipt]:
        """Receipts in the order of the tickets, once they are durable; raises the TriageError that refused them.

        The row may be committed although the caller has gone: the answer is lost then, the ticket is not.
        """
        if self.closing:
            raise Unavailable("Triage is stopping; send the ticket again.", retry_after=5)
        if len(self.pending) >= PENDING:
            raise QueueFull("Too many tickets are being written at this moment; send them again.", retry_after=2)
        submission.done = asyncio.get_running_loop().create_future()
        self.pending.append(submission)
        self.work.set()
        await asyncio.shield(submission.done)
        if submission.error is not None:
            raise submission.error
        return submission.receipts

    async def close(self) -> None:
        """Writes what is pending, then ends."""
        self.closing = True
        self.work.set()
        await self.task
        await self._disconnect()

    async def _run(self) -> None:
        while self.pending or not self.closing:
            await self.work.wait()
            self.work.clear()
            while self.pending:
                await self._flush(take_group(self.pending))

    async def _flush(self, group: list[Submission]) -> None:
        error = await self._try_write(group)
        if error is not None and not error.retry and len(group) > 1:
            # One ticket that Postgres refuses must not sink its neighbours: halve until it stands alone.
            middle = len(group) // 2
            await self._flush(group[:middle])
            await self._flush(group[middle:])
            return
        for submission in group:
            submission.error = submission.error or error
            if submission.done is not None and not submission.done.done():
                submission.done.set_result(None)

    async def _try_write(self, group: list[Submission]) -> TriageError | None:
        for _ in range(DEADLOCK_RETRIES):
            try:
                async with asyncio.timeout(FLUSH_TIMEOUT_S):
                    await write(await self._connected(), group)
                return None
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                continue
            except Exception as error:
                if (refusal := _refusal(error)) is not None:
                    # Only the kind is logged, because the error's text may quote the ticket.
                    log.warning("door.refused", error=type(error).__name__, tickets=len(group))
                    return refusal
                log.warning("postgres.away", error=type(error).__name__)
                break
        await self._disconnect()
        return Unavailable("Postgres does not answer; send the ticket again.", retry_after=5)

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self.connection is None or self.connection.closed:
            self.connection = await psycopg.AsyncConnection.connect(
                self.conninfo, autocommit=True, connect_timeout=5, application_name="triage-door", options=SESSION
            )
        return self.connection

    async def _disconnect(self) -> None:
        if self.connection is not None:
            await self.connection.close()
            self.connection = None


def _refusal(error: Exception) -> TriageError | None:
    """What to tell the ticket whose values are at fault, or that found a mistake of ours; None if Postgres is away."""
    if isinstance(error, DATA):
        return InvalidRequest("Postgres refused the data of this ticket.")
    if isinstance(error, psycopg.Error | OSError):
        return None
    return TriageError("Something failed on our side; the log has it.")


def take_group(pending: deque[Submission]) -> list[Submission]:
    """The next submissions in order, up to a size; a second use of an Idempotency-Key waits for the next group."""
    group: list[Submission] = []
    keys: set[tuple[UUID, str]] = set()
    tickets = size = 0
    while pending and (not group or (tickets < GROUP_TICKETS and size < GROUP_BYTES)):
        submission = pending[0]
        if submission.key in keys:
            break
        group.append(pending.popleft())
        tickets += len(submission.tickets)
        size += submission.size
        if submission.key is not None:
            keys.add(submission.key)
    return group
