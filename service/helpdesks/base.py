"""What every helpdesk adapter takes and gives. The API calls `verify`, then `parse`, with the bytes as they came."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from models.errors import Unauthorized

REFUSED = "Unknown connection or bad signature."


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A ticket to classify. Text is as the helpdesk sent it, neither cleaned nor cut; `created_at` is UTC.

    What customers wrote is left out of repr, so that no log line or traceback prints it.
    """

    external_id: str
    body: str = field(repr=False)
    subject: str | None = field(default=None, repr=False)
    requester: str | None = field(default=None, repr=False)
    language: str | None = None
    channel: str | None = None
    created_at: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A person in the helpdesk set `field` of ticket `external_id` to `label`."""

    external_id: str
    field: str
    label: str
    author: str | None = None


@dataclass(frozen=True)
class Ignored:
    """An authentic event that is nothing to us; the sender gets 200 and the reason."""

    reason: str


class Adapter(Protocol):
    """One configured connection. Header names come in lower case; `raw` is the body before any decoding."""

    def verify(self, headers: Mapping[str, str], raw: bytes) -> None:
        """Return if the request is authentic, in constant time; raises Unauthorized with REFUSED if not."""

    def parse(self, headers: Mapping[str, str], raw: bytes) -> Incoming | Correction | Ignored:
        """What the request says; call `verify` first.

        Raises MalformedRequest for broken JSON and InvalidRequest for content that cannot be mapped; the messages
        name fields and mappings and never hold what was received.
        """


def refuse(why: str) -> Unauthorized:
    """The one refusal; an unknown connection gets it too, so that nobody can find out which names exist.

    `why` travels as a note of the exception: it is for our log, never for the answer, and holds nothing received.
    """
    error = Unauthorized(REFUSED)
    error.add_note(why)
    return error
