"""A ticket file as what `import` posts: every row with an external id, so that posting it again adds nothing."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from models.errors import InvalidRequest
from service.cli import ticketfile

BATCH, BATCH_BYTES = 200, 4 << 20
POSTED = ("subject", "body", "channel", "requester", "created_at", "metadata")
ELSEWHERE = ("id", "external_id", "language", "lang", "label")
BARE = ""  # the field of a label that names none


@dataclass(frozen=True, slots=True)
class Row:
    """One line: the ticket as JSON text, and what its labels are, field by field."""

    line: int
    text: str
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that cannot be taken, and why."""

    line: int
    why: str


class ImportFile:
    """Read twice, once to count its rows: memory grows by the id of each ticket, not by its text."""

    def __init__(self, path: Path, source: str):
        self.path, self.source = path, source
        self.ignored: set[str] = set()

    @cached_property
    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def rows(self) -> Iterator[Row | Bad]:
        """Every line of it; of two with one id the second is bad, since it would take the first one's place."""
        seen: dict[str, int] = {}
        for line, found in ticketfile.numbered(self.path):
            try:
                yield self._row(line, found, seen)
            except InvalidRequest as error:
                yield Bad(line, error.message)

    def _row(self, line: int, found: dict[str, Any] | InvalidRequest, seen: dict[str, int]) -> Row:
        if isinstance(found, InvalidRequest):
            raise found
        self.ignored |= set(found) - set(POSTED) - set(ELSEWHERE)
        ticket = self._ticket(line, found)
        first = seen.setdefault(ticket["external_id"], line)
        if first != line:
            raise InvalidRequest(f"its id stands in line {first} already.")
        return Row(line, _as_json(ticket), _labels(found.get("label")))

    def _ticket(self, line: int, found: dict[str, Any]) -> dict[str, Any]:
        # A CSV has an empty cell where a JSON object has no key.
        given = {name: found[name] for name in POSTED if found.get(name) not in (None, "")}
        language = found.get("language") or found.get("lang")
        own = _text(found.get("id"), "id") or _text(found.get("external_id"), "external_id")
        given |= {"body": found["body"], "source": self.source, "external_id": own or f"{self.sha256[:16]}:{line}"}
        return given | ({"language": language} if language else {})


def _text(value: Any, name: str) -> str:
    if isinstance(value, str | int | None) and not isinstance(value, bool):
        return "" if value is None else str(value)
    raise InvalidRequest(f"`{name}` must be text or a whole number.")


def _as_json(ticket: dict[str, Any]) -> str:
    try:
        return json.dumps(ticket, allow_nan=False)
    except (ValueError, RecursionError):
        raise InvalidRequest("it holds a number that JSON does not have, or is nested too deeply.") from None


def _labels(given: Any) -> dict[str, str]:
    """Field to label; a plain label stands under BARE."""
    found = {BARE: given} if isinstance(given, str) else given or {}
    if not isinstance(found, dict) or not all(isinstance(label, str) for label in found.values()):
        raise InvalidRequest("`label` must be text, or an object of fields and labels.")
    return {field: label for field, label in found.items() if label}


def batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows in lists that are small enough to be posted as one."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        if batch and (len(batch) == BATCH or size + len(row.text) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row.text)
    if batch:
        yield batch
