"""HTTP to a server that speaks OpenAI's API: one request, one JSON object, and whose fault a fault is.

Used by `openai`, and by `triage llm` and `triage doctor` to see whether somebody answers. What such a server says of an
error may repeat the ticket or the key, so none of its sentences is passed on.
"""

import json
import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from models.errors import ConfigError, EngineDown, EngineError, PromptTooLong, TicketRejected
from workers.engines.exchange import Reply, exchange
from workers.engines.guard import Paused
from workers.engines.tls import verification

_CONNECT_S = 5.0
# A pause without a Retry-After, and the longest that is believed at once: a mended account is noticed by then.
_PAUSE_S, _LONGEST_PAUSE_S = 5, 600
_MOST_BYTES = 4 << 20
_TOO_LONG = re.compile(r"context|too (long|large)|exceeds? the (limit|maximum)", re.IGNORECASE)


class NotOffered(EngineError):
    """The server does not know this request, or something in it: another form of it may do. `refused` is the status."""

    def __init__(self, message: str, refused: int):
        super().__init__(message)
        self.refused = refused


class Server:
    """One server below `url`. `key` goes out with every request; `key_env` is what it is called where people set it."""

    def __init__(self, url: str, key: str | None, key_env: str | None):
        self.url = url.rstrip("/")
        self._key, self._key_env = key, key_env
        # A proxy that the environment names is for the world outside, not for a server beside us.
        self._client = httpx.Client(trust_env=self.url.startswith("https://"), verify=verification(self.url))
        self._not_before = 0.0

    def close(self) -> None:
        self._client.close()

    def renewed(self) -> "Server":
        """The same with new connections."""
        return Server(self.url, self._key, self._key_env)

    def paused(self) -> str | None:
        """That the server asked for a pause which is not over."""
        left = self._not_before - time.monotonic()
        return f"{self.url} asked for a pause of another {left:.0f} s." if left > 0 else None

    def models(self, timeout_s: float) -> set[str]:
        """The names that the server lists, with their other names; empty where it has no list."""
        try:
            listed = self.send("GET", "/models", None, timeout_s).get("data")
        except NotOffered:
            return set()
        found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        return {str(name) for one in found for name in (one.get("id"), *(one.get("aliases") or ())) if name}

    def send(self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float) -> dict[str, Any]:
        """The answer to one request, `timeout_s` in all.

        Raises Paused, EngineDown, TicketRejected for a prompt that is too long or no text, ConfigError for a key that
        is refused, NotOffered, or EngineError.
        """
        if (why := self.paused()) is not None:
            raise Paused(why, retry_after=_rounded_up(self._not_before - time.monotonic()))
        content = _bytes(body)
        try:
            reply = self._exchange(method, path, content, time.monotonic() + timeout_s)
        except httpx.TimeoutException:
            raise EngineDown(f"{self.url} did not answer in time.") from None
        except (httpx.TransportError, httpx.DecodingError):
            raise EngineDown(f"Nobody answers at {self.url}: start it, or mend engines.url in triage.yaml.") from None
        if reply.status != 200:
            raise self._refusal(reply.status, reply.headers, reply.content)
        return _object(self.url, reply.content)

    def _exchange(self, method: str, path: str, content: bytes | None, deadline: float) -> Reply:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = self._client.build_request(method, self.url + path, content=content, headers=headers)
        return exchange(self._client, request, deadline=deadline, connect_s=_CONNECT_S, most_bytes=_MOST_BYTES)

    def _refusal(self, status: int, headers: httpx.Headers, said: bytes) -> Exception:
        """What an error status means for the ticket that asked."""
        if status in (401, 403):
            return ConfigError(self._key_refused(status))
        if status in (429, 503):
            return self._pause(status, headers)
        if status >= 500 or status == 408:
            return EngineDown(f"{self.url} failed with {status}.")
        if status == 413 or (status in (400, 422) and _TOO_LONG.search(_message(said))):
            return PromptTooLong("The prompt has more tokens than the llm's context holds there.")
        return NotOffered(f"{self.url} refused the request with {status}{_named(said)}.", status)

    def _key_refused(self, status: int) -> str:
        if self._key_env is None:
            return f"{self.url} wants a key ({status}): name its variable as key_env of the engine in triage.yaml."
        return f"{self.url} refuses the key in {self._key_env} ({status}): set another in the environment or in .env."

    def _pause(self, status: int, headers: httpx.Headers) -> Paused:
        seconds = asked_pause(headers)
        self._not_before = max(self._not_before, time.monotonic() + seconds)
        why = "has had too many requests" if status == 429 else "is not able to answer now"
        return Paused(f"{self.url} {why} ({status}) and asks for a pause of {seconds} s.", retry_after=seconds)


def asked_pause(headers: httpx.Headers) -> int:
    """The seconds that a server, or a proxy before it, asks for by Retry-After; some where it asks for none."""
    return min(_LONGEST_PAUSE_S, _seconds(headers.get("Retry-After")))


def _seconds(retry_after: str | None) -> int:
    """Retry-After is a number of seconds or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return _PAUSE_S
    try:
        return _rounded_up(float(retry_after))
    except (ValueError, OverflowError):
        pass
    try:
        return _rounded_up((parsedate_to_datetime(retry_after).astimezone(UTC) - datetime.now(UTC)).total_seconds())
    except ValueError:
        return _PAUSE_S


def _rounded_up(seconds: float) -> int:
    return max(1, int(-(-seconds // 1)))


def _bytes(body: dict[str, Any] | None) -> bytes | None:
    try:
        return None if body is None else json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise TicketRejected(f"The prompt is no text: {error.reason}.") from None


def _object(url: str, said: bytes) -> dict[str, Any]:
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise EngineDown(f"What answers at {url} does not speak OpenAI's API: its answer is no JSON object.")
    return found


def _error(said: bytes) -> dict[str, Any]:
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    inside = found.get("error", found) if isinstance(found, dict) else {}
    return inside if isinstance(inside, dict) else {"message": inside}


def _message(said: bytes) -> str:
    error = _error(said)
    return f"{error.get('message', '')} {error.get('code', '')} {error.get('type', '')}"[:2000]


def _named(said: bytes) -> str:
    """The error's own name, where it is one: a word cannot repeat a ticket."""
    names = (_error(said).get(key) for key in ("code", "type"))
    found = next((name for name in names if isinstance(name, str) and re.fullmatch(r"[a-z][a-z_]{2,39}", name)), None)
    return f" ({found})" if found else ""
