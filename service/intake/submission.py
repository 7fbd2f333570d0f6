"""What passes the door: tickets ready to be rows, the requests that bring them, and what became of each."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from models.errors import TriageError


class NewTicket(NamedTuple):
    """A validated ticket, ready to be a row. `details` is JSON text.

    `shadow` is the coin drawn at `shadow_rate`; `experiment` and `arm` are None outside the experiments of triage.yaml.
    """

    id: UUID
    source: str
    external_id: str | None
    channel: str | None
    language: str | None
    requester: str | None
    subject: str
    body: str
    repaired: bool
    raw: bytes
    content_sha256: bytes
    details: str
    created_at: datetime | None
    priority: int
    shadow: bool
    shadow_rate: float
    experiment: str | None
    arm: str | None


class Receipt(NamedTuple):
    """What became of one ticket."""

    id: str
    status: str
    duplicate: bool = False

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "status": self.status} | ({"duplicate": True} if self.duplicate else {})


@dataclass(eq=False, slots=True)
class Submission:
    """The tickets of one request: all of them are committed, or none.

    `bad` are the places in its batch of what is no ticket; `refused` those that are answered so, of a repeat as the
    first time: what is a ticket may change with a limit.
    """

    tickets: list[NewTicket]
    api_key_id: UUID | None = None
    idempotency_key: str | None = None
    body_sha256: bytes = b""
    bad: list[int] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    error: TriageError | None = None
    done: "asyncio.Future[None] | None" = None

    @property
    def key(self) -> tuple[UUID, str] | None:
        if self.api_key_id is None or self.idempotency_key is None:
            return None
        return self.api_key_id, self.idempotency_key

    @property
    def size(self) -> int:
        return sum(len(ticket.raw) for ticket in self.tickets)

    @property
    def answer(self) -> dict[str, Any]:
        """What is kept under its Idempotency-Key. Errors are not: they name what was sent."""
        return {"receipts": [receipt._asdict() for receipt in self.receipts], "refused": self.refused}
