"""What a key is, making one and revoking it."""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from models.errors import Forbidden, InvalidRequest, NotFound
from models.tables import NOW, ApiKey

KEY_PREFIX = "triage_"


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
    """A new key and its text, which is shown once; raises InvalidRequest without a name or for an unknown scope."""
    if not name.strip():
        raise InvalidRequest("The key has no name: say what it is for.")
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        raise InvalidRequest(f"Unknown scope {', '.join(unknown) or '(none)'}; there are: {', '.join(Scope)}.")
    text = KEY_PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    row = ApiKey(name=name, sha256=digest(text), scopes=sorted(set(scopes)), source=source)
    session.add(row)
    session.flush()
    return row, text


def revoke_key(session: Session, key_id: UUID) -> None:
    """Ends a key: within 30 s every API process refuses it."""
    found = session.execute(update(ApiKey).where(ApiKey.id == key_id).values(revoked_at=NOW).returning(ApiKey.id))
    if found.first() is None:
        raise NotFound(f"There is no key {key_id}; see triage keys list.")


def digest(text: str) -> bytes:
    """What is kept of a key's text, 32 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
