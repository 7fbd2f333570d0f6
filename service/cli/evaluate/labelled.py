"""Files of labelled tickets, line by line: what a person said each is about. Used by evaluate and calibrate."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InvalidRequest
from models.llm.text import prepare
from models.taxonomy import OTHER, Taxonomy, meant
from service.cli import ticketfile
from service.cli.common import counted

OUTSIDE = frozenset({OTHER, "oos"})
"""Labels that mean "none of these"; they need not stand in the taxonomy."""
NAMED = 5


@dataclass(frozen=True, slots=True)
class Labelled:
    """One ticket: `name` is its id or its line, `text` what an llm reads of it, `labels` field -> label id."""

    name: str
    subject: str
    body: str
    text: str
    labels: Mapping[str, str]


def read(path: Path, taxonomy: Taxonomy, *, bare_too: bool = False) -> tuple[list[Labelled], set[str]]:
    """The tickets, and fields of theirs that the taxonomy lacks; InvalidRequest for what is broken or not labelled.

    With `bare_too`, tickets need no label.
    """
    rows, unknown, beside, bare = [], Counter[str](), set[str](), []
    for number, ticket in _tickets(path):
        given = _pairs(ticket.get("label"), taxonomy, f"{path.name}, line {number}")
        beside |= given.keys() - taxonomy.fields_.keys()
        labels = {name: _id(taxonomy, name, label) for name, label in given.items() if name in taxonomy.fields_}
        unknown.update(f"{name}: {given[name][:60]!r}" for name, label in labels.items() if label is None)
        if not labels:
            bare.append(number)
        rows.append(_row(number, ticket, {name: label for name, label in labels.items() if label is not None}))
    if not rows:
        raise InvalidRequest(f"{path} has no tickets.")
    if unknown:
        raise InvalidRequest(_unknown(path, unknown))
    if bare and not bare_too:
        raise InvalidRequest(
            f"{path.name}: {counted(len(bare), 'ticket')} without a label, the first on line {bare[0]}."
        )
    return rows, beside


def texts(path: Path) -> set[str]:
    """What an llm reads of the tickets of a file, labelled or not; an empty text is no text."""
    found = {prepare(ticket.get("subject") or "", ticket["body"]).text for _, ticket in _tickets(path)}
    return found - {""}


def overlap(rows: Iterable[Labelled], known: set[str]) -> list[str]:
    """The names of those rows whose text is known."""
    return [row.name for row in rows if row.text in known]


def _tickets(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    if str(path) == "-":
        raise InvalidRequest("Labelled tickets are read more than once: give a file, not standard input.")
    for number, found in ticketfile.numbered(path):
        if isinstance(found, InvalidRequest):
            raise InvalidRequest(f"{path.name}, line {number}: {found.message}")
        yield number, found


def _row(number: int, ticket: dict[str, Any], labels: dict[str, str]) -> Labelled:
    subject, body = ticket.get("subject") or "", ticket["body"]
    name = ticket.get("id", ticket.get("external_id"))
    return Labelled(f"line {number}" if name is None else str(name), subject, body, prepare(subject, body).text, labels)


def _pairs(value: Any, taxonomy: Taxonomy, place: str) -> dict[str, str]:
    """field -> label; a bare text is of the field that `meant` names."""
    pairs = value if isinstance(value, dict) else {meant(taxonomy.fields_): value} if value else {}
    if not all(isinstance(part, str) for pair in pairs.items() for part in pair):
        raise InvalidRequest(f"{place}: `label` must be a text, or an object of field -> text.")
    return {field: label for field, label in pairs.items() if label}


def _id(taxonomy: Taxonomy, name: str, label: str) -> str | None:
    found = taxonomy.fields_[name].named(label)
    return found.id if found is not None else label if label in OUTSIDE else None


def _unknown(path: Path, unknown: Counter[str]) -> str:
    shown = ", ".join(f"{name} ({counted(n, 'row')})" for name, n in unknown.most_common(NAMED))
    more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
    return f"{path.name} has labels that are not in the taxonomy: {shown}{more}. Mend the file or the taxonomy."
