"""What Postgres says of whether we are ready: asked by one thread of its own, for all who ask /readyz meanwhile."""

import asyncio
from typing import Any

from anyio import CapacityLimiter, to_thread
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from models.db import only_reads, transaction
from models.errors import Unavailable
from models.tables import Worker
from service.intake.last_write import READS
from service.tickets.backlog import LIVE

LOOK_S = 5


class Readiness:
    """The threads and connections of other requests may all be waiting for a frozen Postgres; these are not theirs."""

    def __init__(self, engine: Engine, head: str, older: frozenset[str]):
        self.engine = engine
        self.head = head
        self.older = older
        self.thread = CapacityLimiter(1)
        self.redis = CapacityLimiter(1)  # likewise of its own, for who asks whether Redis is there
        self.looking: asyncio.Task[list[str]] | None = None

    async def missing(self) -> list[str]:
        """One sentence for each thing that keeps tickets from being classified; Unavailable if none can be taken."""
        if self.looking is None or self.looking.done():
            self.looking = asyncio.create_task(to_thread.run_sync(self._look, limiter=self.thread), name="readiness")
            self.looking.add_done_callback(_heard)
        look = self.looking  # another caller may begin the next one before we hear of this one
        # Nobody who has gone, or waited long enough, ends it for the others.
        if not (await asyncio.wait([look], timeout=LOOK_S))[0]:
            raise Unavailable(f"Postgres did not answer within {LOOK_S} seconds.")
        return list(look.result())

    def _look(self) -> list[str]:
        with transaction(self.engine) as session:
            if (schema := _schema(session)) is None or schema in self.older:
                raise Unavailable(f"The schema is at {schema}, this version needs {self.head}: run triage migrate.")
            if only_reads(session):
                raise Unavailable(READS)
            return _workers(session)


def _heard(look: asyncio.Task[list[str]]) -> None:
    """What it raises for somebody who has gone is nobody's fault, and nothing for the log."""
    if not look.cancelled():
        look.exception()


def _schema(session: Session) -> str | None:
    if session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _workers(session: Session) -> list[str]:
    workers = session.scalars(select(Worker.llms).where(LIVE)).all()
    if not workers:
        return ["No worker is running: tickets are taken and wait."]
    problems = {problem for llms in workers for name, llm in llms.items() if (problem := _problem(name, llm))}
    return sorted(problems)


def _problem(name: str, llm: dict[str, Any]) -> str | None:
    if llm["error"]:
        return f"The llm {name} is not loaded: {llm['error']}"
    if llm.get("breaker"):
        return f"The llm {name} is not asked at the moment: {llm['breaker']} Tickets wait, or are decided without it."
    return None
