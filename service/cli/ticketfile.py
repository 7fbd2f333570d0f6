"""Ticket files: JSONL or CSV in, JSONL or CSV out. Used by `classify`, `import` and `demo`."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from models.errors import InvalidRequest
from models.whole import whole
from service.cli.common import counted, tame
from service.experiments.spreadsheet import safe

FORMS = (".jsonl", ".csv")
MOST_CHARS = 64 << 20  # of one cell of a CSV; more is a quotation mark that nothing closes
SHOWN = 80  # characters of a first line that is wrong
Line = tuple[int, dict[str, Any] | InvalidRequest]


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The tickets of a file (`-` is JSONL from standard input); raises InvalidRequest naming the line that is wrong."""
    name = "standard input" if str(path) == "-" else path.name
    for number, found in numbered(path):
        if isinstance(found, InvalidRequest):
            raise InvalidRequest(f"{name}, line {number}: {found.message}")
        yield found


def numbered(path: Path) -> Iterator[Line]:
    """Every line's number with its ticket, or what is wrong with it; raises InvalidRequest for the file as a whole."""
    if str(path) == "-":
        yield from _lines(sys.stdin)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows(file, path.name) if path.suffix == ".csv" else _lines(file)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is not UTF-8 text; convert it first.") from None


def _lines(file: IO[str]) -> Iterator[Line]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield number, _ticket(json.loads(line))
            except (ValueError, RecursionError):
                yield number, InvalidRequest("not valid JSON.")


def _rows(file: IO[str], name: str) -> Iterator[Line]:
    """After an error the reader goes on in the middle of a cell, so the first one is the end of the file."""
    csv.field_size_limit(MOST_CHARS)
    reader = csv.reader(file, strict=True)  # else a cell that is never closed takes in all rows after it
    last = 0  # of the last whole row
    try:
        columns = next(reader, ["body"])
        _require_body(columns, name)
        last = reader.line_num
        for cells in reader:
            last = reader.line_num
            if cells:
                yield last, _row(columns, cells)
    except csv.Error as error:
        raise InvalidRequest(f"{name}, line {last + 1}: {error}. Is a quotation mark missing?") from None


def _require_body(columns: list[str], name: str) -> None:
    if "body" in columns:
        return
    hint = ": are the columns separated by commas?" if len(columns) == 1 else "."
    shown = tame(",".join(columns)[:SHOWN])
    raise InvalidRequest(f"{name}: its first line names no column `body`, only `{shown}`{hint}")


def _row(columns: list[str], cells: list[str]) -> dict[str, Any] | InvalidRequest:
    if len(cells) == len(columns):
        return _ticket(dict(zip(columns, cells, strict=True)))
    has, named = counted(len(cells), "column"), len(columns)
    return InvalidRequest(f"it has {has}, and the first line names {named}. A text with commas needs quotation marks.")


def _ticket(value: Any) -> dict[str, Any] | InvalidRequest:
    if not isinstance(value, dict) or not isinstance(value.get("body"), str):
        return InvalidRequest("a ticket is an object with a text `body` (and, if you like, id and subject).")
    if not isinstance(value.get("subject") or "", str):
        return InvalidRequest("`subject` must be text.")
    return value


def write(rows: Iterable[dict[str, Any]], out: Path | None, form: str) -> None:
    """Writes each row as it comes, to a file or standard output. A file appears whole or not at all."""
    if out is None:
        _write(rows, sys.stdout, form)
        return
    with whole(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        _write(rows, file, form)


def _write(rows: Iterable[dict[str, Any]], file: IO[str], form: str) -> None:
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if form != ".csv":
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            continue
        if writer is None:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
        writer.writerow({key: safe(value) for key, value in row.items()})
