"""One connection that commits groups of submissions. Used by the door; it never dies, whatever a ticket holds."""

import asyncio
import select
from typing import Any

import psycopg
import structlog
from psycopg.errors import ProgramLimitExceeded

from models.db import SESSION
from models.errors import InvalidRequest, TriageError, Unavailable
from service.intake.rows import write
from service.intake.submission import Submission

log = structlog.get_logger()
FLUSH_TIMEOUT_S = 20
DEADLOCK_RETRIES = 5
DATA = (psycopg.DataError, psycopg.IntegrityError, ProgramLimitExceeded, UnicodeError)


class Writer:
    """Writes one group at a time, over a connection that is opened anew after it was lost."""

    def __init__(self, conninfo: str):
        self.conninfo = conninfo
        self.connection: psycopg.AsyncConnection[Any] | None = None
        self.hoping = True  # that the next group is all new, as the last one was: repeats often come one after another

    async def flush(self, group: list[Submission]) -> None:
        """Commits the group, or what of it Postgres takes, and lets every caller go with its answer or its error."""
        error = await self._try_write(group)
        if error is not None and not error.retry and len(group) > 1:
            # One ticket that Postgres refuses must not sink its neighbours: halve until it stands alone.
            middle = len(group) // 2
            await self.flush(group[:middle])
            await self.flush(group[middle:])
            return
        for submission in group:
            submission.error = submission.error or error
            if submission.done is not None and not submission.done.done():
                submission.done.set_result(None)

    async def close(self) -> None:
        """Lets the connection go; the next flush opens another."""
        if self.connection is not None:
            await self.connection.close()
            self.connection = None

    async def _try_write(self, group: list[Submission]) -> TriageError | None:
        for _ in range(DEADLOCK_RETRIES):
            try:
                async with asyncio.timeout(FLUSH_TIMEOUT_S):
                    self.hoping = await write(await self._connected(), group, self.hoping)
                return None
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                continue
            except Exception as error:
                if (refusal := _refusal(error)) is not None:
                    # The kind, and where a mistake of ours happened: the error's text, which may quote the ticket, is
                    # left out, by the form of all our tracebacks too.
                    place = None if isinstance(refusal, InvalidRequest) else error
                    log.warning("door.refused", error=type(error).__name__, tickets=len(group), exc_info=place)
                    return refusal
                log.warning("postgres.away", error=type(error).__name__)
                break
        await self.close()
        return Unavailable("Postgres does not answer; send the ticket again.", retry_after=5)

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self.connection is not None and _ended(self.connection):
            await self.close()
        if self.connection is None:
            self.connection = await psycopg.AsyncConnection.connect(
                self.conninfo, autocommit=True, connect_timeout=5, application_name="triage-door", options=SESSION
            )
        return self.connection


def _ended(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether Postgres has gone: the only thing that it says to a connection that has asked for nothing."""
    if connection.closed:
        return True
    heard = select.poll()
    heard.register(connection.fileno(), select.POLLIN)
    return bool(heard.poll(0))


def _refusal(error: Exception) -> TriageError | None:
    """What to tell the ticket whose values are at fault, or that found a mistake of ours; None if Postgres is away."""
    if isinstance(error, DATA):
        return InvalidRequest("Postgres refused the data of this ticket.")
    if isinstance(error, psycopg.Error | OSError):
        return None
    return TriageError("Something failed on our side; the log has it.")
