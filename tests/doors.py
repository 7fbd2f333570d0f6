"""A door over a test's database, and submissions for it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from models.db import conninfo
from service.config import read_config
from service.intake.door import Door
from service.intake.submission import Receipt, Submission
from service.intake.ticket import TicketIn, new_ticket

CONFIG = read_config(Path(__file__).resolve().parent.parent / "triage.yaml")
Sql = Callable[..., list[Any]]
Outcome = list[Receipt] | BaseException


def submission(body: str, external_id: str | None = None, key: tuple[UUID, str] | None = None) -> Submission:
    raw = body.encode()
    ticket = new_ticket(TicketIn(body=body, external_id=external_id), raw, source="test", config=CONFIG)
    return Submission([ticket], *(key or (None, None)), hashlib.sha256(raw).digest())


@asynccontextmanager
async def door(database_url: str) -> AsyncIterator[Door]:
    made = Door(conninfo(database_url))
    yield made
    await asyncio.wait_for(made.close(), 30)


async def all_at_once(work: Iterable[Awaitable[list[Receipt]]]) -> list[Outcome]:
    """The outcomes in order; what is started in one turn of the loop lands in one group."""
    return await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), 60)
