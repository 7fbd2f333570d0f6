"""llm verify: real weights on labelled tickets, for the first time: codes, accuracy, calibration, times, parity."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from pydantic import BaseModel, Field, ValidationError

from models import taxonomy
from models.errors import ConfigError, EngineError, InvalidRequest
from models.llm.card import sha256
from models.taxonomy import Taxonomy
from models.whole import whole
from service import settings
from service.cli.common import screen
from service.cli.evaluate import labelled, llm_names
from service.cli.evaluate.labelled import Labelled
from service.cli.llm import findings, parity
from service.cli.llm.findings import Line
from service.logs import configure
from service.settings import Loaded

if TYPE_CHECKING:
    from workers.llm import Llm

MARKS = {True: "ok  ", False: "FAIL", None: "    "}


class Answers(BaseModel):
    """One field of an earlier run: ticket -> label -> probability, before any calibration."""

    answers: dict[str, Annotated[dict[str, float], Field(min_length=1)]]


class Reference(BaseModel):
    """What an earlier `verify --json` wrote, of which only this is compared."""

    llm: str
    data: str
    fields: dict[str, Answers]


def verify(
    name: Annotated[str, typer.Argument(help="A name of triage.yaml, or KIND:VALUE")],
    data: Annotated[Path, typer.Option(help="Labelled tickets: JSONL or CSV with body and label")],
    reference: Annotated[Path | None, typer.Option(help="The --json of an earlier run, to compare with")] = None,
    vocabulary: Annotated[
        Path | None, typer.Option("--taxonomy", help="The labels [default: that of triage.yaml]")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every figure and answer to this file")] = None,
) -> None:
    """Asks an llm about labelled tickets and says whether it does what Triage relies on; exit 1 if anything fails."""
    loaded = llm_names.load(settings.settings(), [name])
    configure(loaded.settings.model_copy(update={"log_level": "error"}))
    labels = taxonomy.load(vocabulary or loaded.taxonomy_path)
    rows, _ = labelled.read(data, labels)
    before = _reference(reference) if reference else None
    if json is not None and not json.resolve().parent.is_dir():
        raise ConfigError(f"There is no folder {json.parent} to write {json.name} to.")
    lines, found = _verified(loaded, name, labels, rows, sha256(data), before)
    for line in lines:
        screen.print(f"{MARKS[line.ok]}  {line.what}: {line.says}", markup=False, highlight=False, soft_wrap=True)
    if json is not None:
        with whole(json) as part:
            part.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    if any(line.ok is False for line in lines):
        raise typer.Exit(1)


def _verified(
    loaded: Loaded, name: str, labels: Taxonomy, rows: Sequence[Labelled], data: str, before: Reference | None
) -> tuple[list[Line], dict[str, Any]]:
    from service.cli.evaluate.asking import opened
    from service.cli.evaluate.measuring import part, refuse_untrained
    from service.cli.llm import figures  # engines take a second to load

    asked = part(labels, rows)
    if before is not None:
        _comparable(asked, rows, before, same=before.data == data)
    found: dict[str, Any] = {"llm": name, "data": data, "rows": len(rows), "fields": {}}
    lines: list[Line] = []
    try:
        with opened(loaded, [name], labels) as llms:
            refuse_untrained(llms, asked)
            lines.append(_ready(llms.all[name]))
            for field in asked.fields_:
                said, answers = figures.measure(llms, name, asked, field, rows)
                lines += findings.lines(field, said)
                lines += _parity(field, answers, before, same=before.data == data) if before else []
                found["fields"][field] = said | {"answers": answers}
    except (ConfigError, EngineError) as error:
        # Among others: a code that is not one token of this llm.
        lines.append(Line("load" if not lines else "asking", False, error.message))
    return lines, found | {"checks": [asdict(line) for line in lines]}


def _ready(llm: "Llm") -> Line:
    """What was loaded. An engine that loads has seen that each code is one token, where it can."""
    assert llm.card is not None  # noqa: S101 (it is loaded)
    engine = f"{llm.engine.kind} {llm.engine.version}"
    return Line("load", True, f"{engine} holds {llm.card.digest[:12]}, prompt {llm.card.prompt_version}")


def _parity(field: str, now: parity.Answers, before: Reference, *, same: bool) -> list[Line]:
    known = before.fields.get(field)
    if known is None:
        return [Line(f"{field}, parity", None, "the reference has no such field")]
    what = f"{field}, parity with {before.llm}"
    try:
        found = parity.compare(now, known.answers, same=same)
    except InvalidRequest as error:
        return [Line(what, False, error.message)]
    return [Line(what, found.good, found.says())]


def _comparable(asked: Taxonomy, rows: Sequence[Labelled], before: Reference, *, same: bool) -> None:
    """InvalidRequest, before a ticket is asked about, where the reference can say nothing of a field that it has."""
    for field in sorted(asked.fields_.keys() & before.fields.keys()):
        answers = before.fields[field].answers
        if not answers:
            raise InvalidRequest(f"The reference has no probability for field {field}: {before.llm} gave none.")
        if not parity.common((row.name for row in rows if field in row.labels), answers, same=same):
            raise InvalidRequest(
                f"The reference is about other tickets: none of its ids of field {field} is in --data."
            )


def _reference(path: Path) -> Reference:
    try:
        return Reference.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read ({error.strerror}).") from None
    except ValidationError:
        raise InvalidRequest(f"{path} is not what triage llm verify --json writes.") from None
