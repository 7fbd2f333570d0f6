"""Whether Postgres takes tickets, and if not, why: one sentence for people. Asked by /readyz.

Once it has refused one, whoever asks has one written that is undone at once: the next may come in an hour, so nothing
old is told, and on a full disk there may be room for small ones, so that one was taken tells little.
"""

import asyncio
import os
from contextvars import Context

import psycopg
import structlog
from psycopg.errors import DiskFull, LockNotAvailable, ReadOnlySqlTransaction

from models.errors import Unavailable
from models.tables import new_id
from service.intake.connection import connect
from service.intake.rows import write
from service.intake.submission import NewTicket, Submission

log = structlog.get_logger()
TRY_S = 3
TRIED_BYTES = 64 << 10  # which cannot be compressed, and find no room in pages that are there
READS = "Postgres takes no tickets: it only reads at the moment."
SAID = {
    DiskFull: "Postgres takes no tickets: its disk is full.",
    ReadOnlySqlTransaction: READS,
    LockNotAvailable: "Postgres takes no tickets: another transaction has locked their table.",
}
GONE = ("08", "57")  # classes of errors: connections that broke, and servers that stop


class LastWrite:
    """Shared by the door's writers, who tell it what failed; `refused` is None or the sentence."""

    def __init__(self, conninfo: str):
        self.conninfo = conninfo
        self.refused: str | None = None
        self.trying: asyncio.Task[None] | None = None

    def failed(self, error: Exception) -> None:
        self.refused = _sentence(error)

    async def check(self) -> None:
        """Raises Unavailable if a write has failed, and one would still fail."""
        if self.refused is None:
            return
        if self.trying is None or self.trying.done():
            self.trying = asyncio.create_task(self._try(), name="last write", context=Context())
        await asyncio.wait([self.trying], timeout=TRY_S)  # all who ask meanwhile share it
        if self.refused is not None:
            raise Unavailable(self.refused)

    async def close(self) -> None:
        if self.trying is not None:
            self.trying.cancel()
            await asyncio.gather(self.trying, return_exceptions=True)

    async def _try(self) -> None:
        try:
            async with asyncio.timeout(TRY_S):
                await self._write_and_undo()
        except (psycopg.Error, OSError, TimeoutError) as error:
            log.warning("postgres.takes_nothing", error=type(error).__name__)
            self.failed(error)
        else:
            self.refused = None

    async def _write_and_undo(self) -> None:
        connection = await connect(self.conninfo, "triage-ready")
        async with connection, connection.transaction(force_rollback=True):
            await write(connection, [Submission([_ticket()])])


def _sentence(error: Exception) -> str:
    state = getattr(error, "sqlstate", None)
    if state is None or state.startswith(GONE):
        return "Postgres takes no tickets: it does not answer."
    known = (said for kind, said in SAID.items() if isinstance(error, kind))
    return next(known, f"Postgres takes no tickets: its error is {type(error).__name__}.")


def _ticket() -> NewTicket:
    return NewTicket(
        id=new_id(),
        source="triage",
        external_id=None,
        channel=None,
        language=None,
        requester=None,
        subject="",
        body="",
        repaired=False,
        raw=os.urandom(TRIED_BYTES),
        content_sha256=b"",
        details="{}",
        created_at=None,
        priority=1,
        shadow=False,
        shadow_rate=0.0,
        experiment=None,
        arm=None,
    )
