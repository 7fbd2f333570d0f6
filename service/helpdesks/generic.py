"""The adapter for helpdesks without one of their own: the connection in triage.yaml says by JMESPath what is where."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from models.errors import ConfigError, InvalidRequest
from service.helpdesks.base import Ignored, Incoming
from service.helpdesks.payload import read_json, read_time
from service.helpdesks.signature import Signature, Token


def _compile(text: object) -> ParsedResult:
    if not isinstance(text, str):
        raise ValueError("must be a JMESPath expression in quotes")
    try:
        expression = jmespath.compile(text)
    except JMESPathError as error:
        raise ValueError(f"not JMESPath: {_first_line(error)}") from None
    # The library looks a function up when it is first reached, which would be in production.
    for name in _functions(expression.parsed):
        if name not in Functions.FUNCTION_TABLE:
            raise ValueError(f"JMESPath has no function {name}()")
    return expression


def _first_line(error: JMESPathError) -> str:
    # The library draws the expression and a caret below; a sentence has no room for them.
    return str(error).splitlines()[0].partition(", for expression")[0].rstrip(".:")


def _functions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node["type"] == "function_expression":
            yield node["value"]
        for child in node["children"]:
            yield from _functions(child)


Expression = Annotated[ParsedResult, BeforeValidator(_compile)]


class FieldMap(BaseModel):
    """Where each field of a ticket is in the event; `metadata` must give an object."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    external_id: Expression
    body: Expression
    subject: Expression | None = None
    requester: Expression | None = None
    language: Expression | None = None
    channel: Expression | None = None
    created_at: Expression | None = None
    metadata: Expression | None = None


class GenericConnection(BaseModel):
    """One entry of `connections:` with kind generic. It names the variable that holds the secret, never the secret."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")
    kind: Literal["generic"]
    signature: Signature | None = None
    token: Token | None = None
    ignore_when: Expression | None = None
    map: FieldMap


class Generic:
    """A configured generic connection; see base.Adapter for what its methods promise."""

    def __init__(self, connection: GenericConnection, proof: Signature | Token, secret: SecretStr):
        self.connection = connection
        self.clock: Callable[[], float] = time.time
        self._proof = proof
        self._secret = secret

    def verify(self, headers: Mapping[str, str], raw: bytes) -> None:
        self._proof.check(self._secret, headers, raw, self.clock())

    def parse(self, headers: Mapping[str, str], raw: bytes) -> Incoming | Ignored:
        event = read_json(raw, lenient=True)
        ignore_when = self.connection.ignore_when
        if ignore_when is not None and _search("ignore_when", ignore_when, event):
            return Ignored("ignore_when is true for this event")
        return self._incoming(event)

    def _incoming(self, event: Any) -> Incoming:
        return Incoming(
            external_id=self._id(event),
            body=self._required("body", event),
            subject=self._optional("subject", event),
            requester=self._optional("requester", event),
            language=self._optional("language", event),
            channel=self._optional("channel", event),
            created_at=self._time("created_at", event),
            metadata=self._object("metadata", event),
        )

    def _value(self, field: str, event: Any) -> Any:
        expression = getattr(self.connection.map, field)
        return None if expression is None else _search(f"map.{field}", expression, event)

    def _text(self, field: str, event: Any) -> str | None:
        value = self._value(field, event)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is None or isinstance(value, str):
            return value
        raise _invalid(field, "is neither text nor a whole number")

    def _optional(self, field: str, event: Any) -> str | None:
        return self._text(field, event) or None

    def _required(self, field: str, event: Any) -> str:
        text = self._text(field, event)
        if text is None:
            raise _invalid(field, "is missing")
        return text

    def _id(self, event: Any) -> str:
        # Every ticket with an empty id would count as a repeat of the first one.
        text = self._required("external_id", event)
        if not text.strip():
            raise _invalid("external_id", "is empty")
        return text

    def _time(self, field: str, event: Any) -> datetime | None:
        text = self._optional(field, event)
        try:
            return None if text is None else read_time(text)
        except ValueError:
            raise _invalid(field, "is not an RFC 3339 time") from None

    def _object(self, field: str, event: Any) -> dict[str, Any]:
        value = self._value(field, event)
        if value is None or isinstance(value, dict):
            return value or {}
        raise _invalid(field, "is not an object")


def _search(key: str, expression: ParsedResult, event: Any) -> Any:
    # The library's messages quote the event, and so would a chained traceback: neither may reach a log.
    try:
        return expression.search(event)
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError):
        raise InvalidRequest(f"{key} of this connection cannot be applied to this event.") from None


def _invalid(field: str, problem: str) -> InvalidRequest:
    message = f"{field} {problem} in this event; it is taken from where map.{field} of this connection points."
    return InvalidRequest(message, errors=[{"field": field, "message": problem}])


def build(config: Mapping[str, Any], environ: Mapping[str, str]) -> Generic:
    """The adapter of one entry; raises ConfigError, or pydantic's ValidationError, which the registry translates."""
    connection = GenericConnection.model_validate(config)
    proof = connection.signature or connection.token
    if proof is None or (connection.signature and connection.token):
        raise ConfigError(f"connection {connection.name!r}: give exactly one of signature and token.")
    secret = environ.get(proof.secret_env)
    if not secret:
        key = "signature" if connection.signature else "token"
        raise ConfigError(
            f"connection {connection.name!r}: the environment variable {proof.secret_env} "
            f"({key}.secret_env) is not set; put the shared secret there."
        )
    return Generic(connection, proof, SecretStr(secret))
