"""Ticket files: JSONL or CSV in, JSONL or CSV out. Used by `classify` and `demo`."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from models.errors import InvalidRequest
from service.experiments.spreadsheet import safe

FORMS = (".jsonl", ".csv")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The tickets of a file (`-` is JSONL from standard input); raises InvalidRequest naming the line that is wrong."""
    if str(path) == "-":
        yield from _lines(sys.stdin, "standard input")
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows(file, path.name) if path.suffix == ".csv" else _lines(file, path.name)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is not UTF-8 text; convert it first.") from None


def _lines(file: IO[str], name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError:
            raise InvalidRequest(f"{name}, line {number}: not valid JSON.") from None
        yield _ticket(value, f"{name}, line {number}")


def _rows(file: IO[str], name: str) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(file)
    try:
        for row in reader:
            yield _ticket(
                {k: v for k, v in row.items() if k is not None and v is not None}, f"{name}, line {reader.line_num}"
            )
    except csv.Error as error:
        raise InvalidRequest(f"{name}, line {reader.line_num}: {error}.") from None


def _ticket(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("body"), str):
        raise InvalidRequest(f"{place}: a ticket is an object with a text `body` (and, if you like, id and subject).")
    if not isinstance(value.get("subject") or "", str):
        raise InvalidRequest(f"{place}: `subject` must be text.")
    return value


def write(rows: Iterable[dict[str, Any]], out: Path | None, form: str) -> None:
    """Writes each row as it comes, to a file or standard output. A file appears whole or not at all."""
    if out is None:
        _write(rows, sys.stdout, form)
        return
    part = out.with_name(out.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        _write(rows, file, form)
    part.replace(out)


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
