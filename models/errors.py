"""The one tree of errors. Each class says its HTTP `status`, its `title` and whether the queue may `retry`.

The message is the sentence a user reads (on HTTP as `detail` of an RFC 9457 problem, on the command line as it is):
it says what is wrong and what to do, and never holds a secret or a ticket's text. Whatever an engine has said in it, a
row and a heartbeat can hold it.
"""

from typing import Any

from models.storable import storable


class TriageError(Exception):
    """Base of everything this project raises on purpose."""

    status = 500
    title = "Internal error"
    retry = False

    def __init__(self, message: str, *, retry_after: int | None = None, errors: list[dict[str, Any]] | None = None):
        self.message = storable(message)
        super().__init__(self.message)
        self.retry_after = retry_after
        self.errors = errors


class MalformedRequest(TriageError):
    """The bytes are not what they claim to be (broken JSON)."""

    status, title = 400, "Malformed request"


class Unauthorized(TriageError):
    """No key, an unknown or revoked key, a bad signature, an unknown connection."""

    status, title = 401, "Unauthorized"


class Forbidden(TriageError):
    """The key is good but lacks the scope."""

    status, title = 403, "Forbidden"


class NotFound(TriageError):
    """Nothing has this id."""

    status, title = 404, "Not found"


class Conflict(TriageError):
    """What is asked is not possible in the state that the thing is in."""

    status, title = 409, "Not possible"


class TooLarge(TriageError):
    """The body exceeds a size limit."""

    status, title = 413, "Content too large"


class WrongContentType(TriageError):
    """The body is not JSON."""

    status, title = 415, "Unsupported media type"


class InvalidRequest(TriageError):
    """The JSON is fine, its content is not; `errors` names each field."""

    status, title = 422, "Invalid request"


class QueueFull(TriageError):
    """More tickets wait than the queue limit allows."""

    status, title, retry = 429, "Queue full", True


class WritingFull(QueueFull):
    """More requests wait to be written at this moment than one process holds."""


class TooManyFailures(TriageError):
    """Too many bad keys came from one address; its good ones still work."""

    status, title, retry = 429, "Too many failed keys", True


class Unavailable(TriageError):
    """Something this answer needs is away for now (Postgres)."""

    status, title, retry = 503, "Unavailable", True


class ConfigError(TriageError):
    """A setting, triage.yaml or taxonomy.yaml is wrong; stops the start."""

    title = "Wrong configuration"


class ServerError(TriageError):
    """An embedded Postgres or Redis could not be started or stopped."""

    title = "Embedded server failed"


class EngineError(TriageError):
    """A language model engine did not give scores."""

    status, title = 502, "Engine failed"


class EngineDown(EngineError):
    """The engine is away or not loaded: nobody's fault, costs a ticket no attempt."""

    status, title, retry = 503, "Engine unavailable", True


class TicketRejected(EngineError):
    """The engine is well and refuses this very ticket: counts as the ticket's attempt."""


class PromptTooLong(TicketRejected):
    """The prompt has more tokens than the llm's context holds: less of the ticket may fit."""
