"""The keys that an API process knows; each is looked up at most every 30 s."""

import asyncio
import time
from contextlib import nullcontext
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine, select
from starlette.concurrency import run_in_threadpool

from models.db import transaction
from models.errors import Unauthorized, Unavailable
from models.tables import ApiKey
from service.auth.keys import Caller, digest
from service.failures import Failures

CACHE_S = 30.0
LOOK_UP_S = 10.0
CACHE_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Known:
    """A good key as it was found; `sha256` is what sessions of this key are signed with."""

    caller: Caller
    sha256: bytes
    until: float


class Keys:
    """The keys an API process knows. A good key is asked for again after 30 s, a bad one every time."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.cache: dict[bytes | UUID, Known] = {}
        self.failures = Failures()
        self.turn = asyncio.Lock()

    async def caller(self, authorization: str | None, address: str | None) -> Caller:
        """Who a bearer header names; raises Unauthorized, or Unavailable when Postgres cannot be asked.

        Of an address that sends one bad key after another, the further bad ones are TooManyFailures.
        """
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise Unauthorized("Send an API key: Authorization: Bearer KEY.")
        return (await self._known(digest(text.strip()), address)).caller

    async def by_id(self, key_id: UUID, address: str | None) -> Known:
        """The key that a session names; raises as `caller` does."""
        return await self._known(key_id, address)

    async def _known(self, asked: bytes | UUID, address: str | None) -> Known:
        if known := self._cached(asked):
            return known
        try:
            with self.failures.asking(address) as over:
                # Who guesses holds one connection at most. A key that was good lately is no guess and waits for nobody.
                one_by_one = over and asked not in self.cache
                return await self._find(asked, self.turn if one_by_one else nullcontext())
        except Unauthorized:
            self.failures.count(address)
            raise

    def _cached(self, asked: bytes | UUID) -> Known | None:
        known = self.cache.get(asked)
        return known if known is not None and known.until > time.monotonic() else None

    async def _find(self, asked: bytes | UUID, turn: asyncio.Lock | nullcontext[None]) -> Known:
        try:
            async with asyncio.timeout(LOOK_UP_S), turn:
                known = self._cached(asked)
                if known is None:
                    known = await run_in_threadpool(self._look_up, asked)
        except TimeoutError:
            raise Unavailable("The key could not be looked up in time; try again shortly.", retry_after=5) from None
        if len(self.cache) >= CACHE_KEYS:
            self.cache.clear()
        self.cache[asked] = known
        return known

    def _look_up(self, asked: bytes | UUID) -> Known:
        column = ApiKey.id if isinstance(asked, UUID) else ApiKey.sha256
        with transaction(self.engine) as session:
            row = session.scalars(select(ApiKey).where(column == asked, ApiKey.revoked_at.is_(None))).first()
        if row is None:
            self.cache.pop(asked, None)
            raise Unauthorized("This API key is unknown or revoked.")
        caller = Caller(row.id, frozenset(row.scopes), row.source, row.name)
        return Known(caller, row.sha256, time.monotonic() + CACHE_S)
