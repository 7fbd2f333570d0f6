"""API keys: 256 random bits, kept as SHA-256, looked up at most every 30 s. Used by the API and the command line."""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from models.db import transaction
from models.errors import Forbidden, InvalidRequest, NotFound, Unauthorized
from models.tables import NOW, ApiKey

KEY_PREFIX = "triage_"
CACHE_S = 30.0
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
    """Who calls: the key's id, its scopes, and the source it is bound to."""

    id: UUID
    scopes: frozenset[str]
    source: str | None

    def require(self, scope: Scope) -> None:
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
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


class Keys:
    """The keys an API process knows. A good key is asked for again after 30 s, a bad one every time."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.cache: dict[bytes, tuple[float, Caller]] = {}

    async def caller(self, authorization: str | None) -> Caller:
        """Who a bearer header names; raises Unauthorized, or Unavailable when Postgres cannot be asked."""
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise Unauthorized("Send an API key: Authorization: Bearer KEY.")
        digest = _digest(text.strip())
        known = self.cache.get(digest)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        caller = await run_in_threadpool(self._look_up, digest)
        if len(self.cache) >= CACHE_KEYS:
            self.cache.clear()
        self.cache[digest] = (time.monotonic() + CACHE_S, caller)
        return caller

    def _look_up(self, digest: bytes) -> Caller:
        with transaction(self.engine) as session:
            row = session.scalars(select(ApiKey).where(ApiKey.sha256 == digest, ApiKey.revoked_at.is_(None))).first()
        if row is None:
            self.cache.pop(digest, None)
            raise Unauthorized("This API key is unknown or revoked.")
        return Caller(row.id, frozenset(row.scopes), row.source)


def needs(scope: Scope) -> Callable[[Request], object]:
    """A dependency that gives the caller if its key has the scope."""

    async def caller(request: Request) -> Caller:
        found: Caller = await request.app.state.keys.caller(request.headers.get("authorization"))
        found.require(scope)
        return found

    return caller


TicketWriter = Annotated[Caller, Depends(needs(Scope.TICKETS_WRITE))]
TicketReader = Annotated[Caller, Depends(needs(Scope.TICKETS_READ))]
VerdictWriter = Annotated[Caller, Depends(needs(Scope.VERDICTS_WRITE))]
ReportReader = Annotated[Caller, Depends(needs(Scope.REPORTS_READ))]
