"""The group commit: concurrent submissions share one transaction, and each caller is answered after its commit.

Called by the API. The next group is gathered and written while the one before is on its way to the disk.
"""

import asyncio
from collections import deque
from contextvars import Context
from typing import NoReturn
from uuid import UUID

from models.errors import Unavailable, WritingFull
from service.intake.last_write import LastWrite
from service.intake.submission import Receipt, Submission
from service.intake.writer import Writer

WRITERS = 2
GROUP_TICKETS = 1000
GROUP_BYTES = 8 << 20
PENDING = 20_000
# Of what was received, in memory several times as much. Tickets have a few thousand bytes, so that these are reached
# first only where many are as large as a ticket or a batch may be.
PENDING_BYTES = 256 << 20


class Door:
    """Takes submissions and commits them in groups. One POST alone waits for nobody."""

    def __init__(self, conninfo: str):
        self.pending: deque[Submission] = deque()
        self.last = LastWrite(conninfo)
        self.idle = [Writer(conninfo, self.last) for _ in range(WRITERS)]
        self.writing: set[asyncio.Task[None]] = set()
        self.bytes = 0  # of all that has no answer yet
        self.closing = False

    async def commit(self, submission: Submission) -> list[Receipt]:
        """Receipts in the order of the tickets, once they are durable; raises the TriageError that refused them.

        The row may be committed although the caller has gone: the answer is lost then, the ticket is not.
        """
        if self.closing:
            raise Unavailable("Triage is stopping; send the ticket again.", retry_after=5)
        if self._full(submission.size):
            raise WritingFull("Too many tickets are being written at this moment; send them again.", retry_after=2)
        self.bytes += submission.size
        submission.done = asyncio.get_running_loop().create_future()
        self.pending.append(submission)
        self._begin()
        await submission.done
        if submission.error is not None:
            _raise(submission)
        return submission.receipts

    async def close(self) -> None:
        """Writes what is pending, then ends."""
        self.closing = True
        await asyncio.gather(*self.writing)
        for writer in self.idle:
            await writer.close()
        await self.last.close()

    def _full(self, size: int) -> bool:
        """Whether there is no room for so many bytes more; a request alone is taken whatever its size."""
        return len(self.pending) >= PENDING or (self.bytes > 0 and self.bytes + size > PENDING_BYTES)

    def _begin(self) -> None:
        """Wakes a writer, the one that wrote last if it is idle; what else comes in this turn joins its group."""
        if self.idle:
            # In a context of its own: what it logs is of a whole group, not of the request that woke it.
            task = asyncio.create_task(self._write(self.idle.pop()), name="door", context=Context())
            self.writing.add(task)
            task.add_done_callback(self.writing.discard)

    async def _write(self, writer: Writer) -> None:
        while self.pending:
            group = take_group(self.pending)
            await writer.flush(group)
            self.bytes -= sum(submission.size for submission in group)
        self.idle.append(writer)


def _raise(submission: Submission) -> NoReturn:
    """An error that its own traceback leads back to would keep the tickets until someone looks for garbage."""
    try:
        raise submission.error or AssertionError
    finally:
        submission.error = None


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
