"""API keys: 256 random bits, kept as SHA-256, looked up at most every 30 s. Used by the API and the command line."""

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from models.db import transaction
from models.errors import Forbidden, InvalidRequest, NotFound, Unauthorized, Unavailable
from models.tables import NOW, ApiKey
from service.failures import Failures

KEY_PREFIX = "triage_"
CACHE_S = 30.0
LOOK_UP_S = 10.0
CACHE_KEYS = 10_000


class Scope(StrEnum):
    """What a key may do; `admin` may do everything."""

    TICKETS_WRITE = "tickets:write"
    TICKETS_READ = "tickets:read"
    VERDICTS_WRITE = "verdicts:write"
    REPORTS_READ = "reports:read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the key's id, its scopes, the source it is bound to, and its name for people."""

    id: UUID
    scopes: frozenset[str]
    source: str | None
    name: str

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        if not self.may(scope):
            raise Forbidden(f"This key lacks the scope {scope}.")


def create_key(session: Session, name: str, scopes: list[str], source: str | None = None) -> tuple[ApiKey, str]:
    """A new key and its text, which is shown once; raises InvalidRequest for an unknown scope."""
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        raise InvalidRequest(f"Unknown scope {', '.join(unknown) or '(none)'}; there are: {', '.join(Scope)}.")
    text = KEY_PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    row = ApiKey(name=name, sha256=_digest(text), scopes=sorted(set(scopes)), source=source)
    session.add(row)
    session.flush()
    return row, text


def revoke_key(session: Session, key_id: UUID) -> None:
    """Ends a key: within 30 s every API process refuses it."""
    found = session.execute(update(ApiKey).where(ApiKey.id == key_id).values(revoked_at=NOW).returning(ApiKey.id))
    if found.first() is None:
        raise NotFound(f"There is no key {key_id}; see triage keys list.")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


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
        return (await self._known(_digest(text.strip()), address)).caller

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


def sent_from(request: Request) -> str | None:
    """The client's address; X-Forwarded-For is in it only from a proxy that uvicorn trusts (FORWARDED_ALLOW_IPS)."""
    return request.client.host if request.client else None


def needs(scope: Scope | None) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that gives the caller if its key has the scope; without a scope any good key will do."""

    async def caller(request: Request) -> Caller:
        found: Caller = await request.app.state.keys.caller(request.headers.get("authorization"), sent_from(request))
        if scope is not None:
            found.require(scope)
        return found

    return caller


AnyCaller = Annotated[Caller, Depends(needs(None))]
TicketWriter = Annotated[Caller, Depends(needs(Scope.TICKETS_WRITE))]
TicketReader = Annotated[Caller, Depends(needs(Scope.TICKETS_READ))]
VerdictWriter = Annotated[Caller, Depends(needs(Scope.VERDICTS_WRITE))]
ReportReader = Annotated[Caller, Depends(needs(Scope.REPORTS_READ))]
Admin = Annotated[Caller, Depends(needs(Scope.ADMIN))]
