"""The group commit: concurrent submissions share one transaction, and each caller is answered after its commit.

Called by the API. The next group is gathered and written while the one before is on its way to the disk.
"""

import asyncio
from collections import deque
from uuid import UUID

from models.errors import QueueFull, Unavailable
from service.intake.submission import Receipt, Submission
from service.intake.writer import Writer

WRITERS = 2
GROUP_TICKETS = 1000
GROUP_BYTES = 8 << 20
PENDING = 20_000


class Door:
    """Takes submissions and commits them in groups. One POST alone waits for nobody."""

    def __init__(self, conninfo: str):
        self.pending: deque[Submission] = deque()
        self.work = asyncio.Event()
        self.closing = False
        self.writers = [Writer(conninfo) for _ in range(WRITERS)]
        self.tasks = [asyncio.create_task(self._run(writer), name="door") for writer in self.writers]

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
        await asyncio.gather(*self.tasks)
        for writer in self.writers:
            await writer.close()

    async def _run(self, writer: Writer) -> None:
        while self.pending or not self.closing:
            await self.work.wait()
            if not self.closing:  # the last ring is for every writer
                self.work.clear()
            while self.pending:
                await writer.flush(take_group(self.pending))


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
