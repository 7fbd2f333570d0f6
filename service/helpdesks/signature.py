"""How a webhook proves that it comes from the helpdesk: an HMAC over the body, or a token. Called by the adapters."""

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from service.helpdesks.base import refuse
from service.helpdesks.payload import read_time

Header = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[A-Za-z0-9_-]+$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Token(BaseModel):
    """A shared secret in a header, for senders that cannot sign."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    header: Header
    secret_env: Variable

    def check(self, secret: SecretStr, headers: Mapping[str, str], raw: bytes, now: float) -> None:
        """Return if the header holds the secret; raises Unauthorized if not."""
        sent = _header(headers, self.header)
        if not hmac.compare_digest(sent.encode(), secret.get_secret_value().encode()):
            raise refuse("the token is wrong")


class Signature(BaseModel):
    """An HMAC of the body as it came, or of the timestamp header followed by the body, which is what Zendesk signs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Literal["hmac-sha256", "hmac-sha1"]
    encoding: Literal["hex", "base64"]
    header: Header
    prefix: str = ""
    secret_env: Variable
    timestamp_header: Header | None = None
    max_age_s: int | None = Field(default=300, ge=1)  # null: any age; without timestamp_header nothing tells the age

    def check(self, secret: SecretStr, headers: Mapping[str, str], raw: bytes, now: float) -> None:
        """Return if the signature fits and its timestamp is within max_age_s of `now`; raises Unauthorized if not."""
        sent = _header(headers, self.header)
        stamp = _header(headers, self.timestamp_header) if self.timestamp_header else ""
        if not hmac.compare_digest(self._fold(sent), self._fold(self.prefix + self._digest(secret, stamp, raw))):
            raise refuse("the signature does not fit the body")
        if self.timestamp_header and self.max_age_s is not None and abs(now - _seconds(stamp)) > self.max_age_s:
            raise refuse("the timestamp is too far from our clock")

    def _digest(self, secret: SecretStr, stamp: str, raw: bytes) -> str:
        algorithm = self.scheme.removeprefix("hmac-")
        mac = hmac.digest(secret.get_secret_value().encode(), stamp.encode() + raw, algorithm)
        return mac.hex() if self.encoding == "hex" else b64encode(mac).decode()

    def _fold(self, text: str) -> str:
        # Hex comes in either case; base64 differs by case.
        return text.lower() if self.encoding == "hex" else text


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    # compare_digest raises on text outside ASCII, and no valid value is outside it.
    if not value or not value.isascii():
        raise refuse(f"the header {name} is missing or not ASCII")
    return value


def _seconds(stamp: str) -> float:
    """Unix time of a timestamp header: seconds, milliseconds (13 digits) or RFC 3339."""
    if re.fullmatch(r"\d{9,13}", stamp):
        return int(stamp) / (1000 if len(stamp) == 13 else 1)
    try:
        return read_time(stamp).timestamp()
    except ValueError:
        raise refuse("the timestamp is not a time") from None
