"""One connection that commits groups of submissions. Used by the door; it never dies, whatever a ticket holds.

Nor does it wait long for whoever holds the row of one ticket: the others are written, and that one may come again.
"""

import asyncio
import select
from typing import Any

import psycopg
import structlog
from psycopg.errors import ProgramLimitExceeded

from models.errors import InvalidRequest, TriageError, Unavailable
from service.intake.connection import connect
from service.intake.last_write import LastWrite
from service.intake.repeats import held
from service.intake.rows import write
from service.intake.submission import Submission

log = structlog.get_logger()
FLUSH_TIMEOUT_S = 20
DEADLOCK_RETRIES = 5
# While it is found out who waits for a lock, others hardly wait with them.
HASTE = "SET lock_timeout = '100ms'"
MOST_WAITS = 20  # of these; one of a thousand tickets is found with ten
DATA = (psycopg.DataError, psycopg.IntegrityError, ProgramLimitExceeded, UnicodeError)


class Held(Unavailable):
    """Another transaction holds what some of these tickets need."""


class Writer:
    """Writes one group at a time, over a connection that is opened anew after it was lost."""

    def __init__(self, conninfo: str, last: LastWrite):
        self.conninfo = conninfo
        self.last = last
        self.connection: psycopg.AsyncConnection[Any] | None = None
        self.waits = 0  # for rows that others hold, in this flush
        self.hoping = True  # that the next group is all new, as the last one was: repeats often come one after another

    async def flush(self, group: list[Submission]) -> None:
        """Commits the group, or what of it Postgres takes, and lets every caller go with its answer or its error."""
        self.waits = 0
        await self._flush(group)
        if self.waits:
            await self.close()  # and with it the haste

    async def _flush(self, group: list[Submission]) -> None:
        error = await self._try_write(group)
        parts = await self._parts(group, error) if error is not None and len(group) > 1 else []
        for part in parts:
            await self._flush(part)
        if not parts:
            _answer(group, error)

    async def _parts(self, group: list[Submission], error: TriageError) -> list[list[Submission]]:
        """What is written one after another, so that one ticket does not sink its neighbours; none if nothing helps."""
        if isinstance(error, Held):
            return await self._beside_held(group)
        return [] if error.retry else _halves(group)

    async def _beside_held(self, group: list[Submission]) -> list[list[Submission]]:
        """First who waits for nobody, then the others once more; halves where nobody can be seen to wait."""
        self.waits += 1
        if self.waits > MOST_WAITS:
            return []
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                connection = await self._connected()
                await connection.execute(HASTE)
                waiting = set(await held(connection, group))
        except (psycopg.Error, OSError, TimeoutError) as error:  # the whole table may be locked
            log.warning("postgres.away", error=type(error).__name__)
            self.last.failed(error)
            await self.close()
            return []
        others = [submission for submission in group if submission not in waiting]
        if not waiting:
            return _halves(group)
        return [others, [s for s in group if s in waiting]] if others else []

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
            except psycopg.errors.LockNotAvailable:
                return Held("Another transaction holds this ticket at the moment; send it again.", retry_after=5)
            except Exception as error:
                if (refusal := _refusal(error)) is not None:
                    # The kind, and where a mistake of ours happened: the error's text, which may quote the ticket, is
                    # left out, by the form of all our tracebacks too.
                    place = None if isinstance(refusal, InvalidRequest) else error
                    log.warning("door.refused", error=type(error).__name__, tickets=len(group), exc_info=place)
                    return refusal
                log.warning("postgres.away", error=type(error).__name__)
                self.last.failed(error)
                break
        await self.close()
        return Unavailable("Postgres does not answer; send the ticket again.", retry_after=5)

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self.connection is not None and _ended(self.connection):
            await self.close()
        if self.connection is None:
            self.connection = await connect(self.conninfo, "triage-door")
        return self.connection


def _halves(group: list[Submission]) -> list[list[Submission]]:
    middle = len(group) // 2
    return [group[:middle], group[middle:]]


def _answer(group: list[Submission], error: TriageError | None) -> None:
    if isinstance(error, Held):
        log.warning("door.held", tickets=len(group))
    for submission in group:
        submission.error = submission.error or error
        if submission.done is not None and not submission.done.done():
            submission.done.set_result(None)


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
