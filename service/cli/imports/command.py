"""import: posts a file of tickets to a running service; the same again goes on where it stopped and doubles nothing."""

import json as jsonlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import typer
from pydantic import TypeAdapter, ValidationError
from rich.progress import Progress

from models.tables import new_id
from models.taxonomy import meant
from service import settings
from service.cli.common import DataDir, Json, counted, notes, print_json, say, visible
from service.cli.imports import client as over_http
from service.cli.imports.client import Client, read, refusal, retry_after
from service.cli.imports.file import BARE, Bad, ImportFile, Row, batches
from service.cli.imports.waiting import Waiting
from service.intake.reading import message
from service.intake.ticket import Name

SHOWN = 20
Judged = Literal["dataset", "import"]


def register(app: typer.Typer) -> None:
    app.command("import")(import_file)


def import_file(
    file: Annotated[Path, typer.Argument(help="JSONL or CSV with body, and if you like id, subject, label and so on")],
    source: Annotated[str, typer.Option(help="The source of its tickets")] = "import",
    verdicts: Annotated[
        Judged | None, typer.Option(help="Post its labels as verdicts too; dataset: every ticket was judged")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until all are classified, and count what came of it")
    ] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Posts a file of tickets to a running service. The same file again adds nothing; bad rows stop no others."""
    if str(file) == "-":
        raise typer.BadParameter("it is read twice: give a file, not standard input.", param_hint="FILE")
    given = ImportFile(file, _named(source))
    with Client(settings.settings(data_dir=data_dir)) as client:
        done = Import(client, given, verdicts)
        try:
            done.run(wait=wait)
        except KeyboardInterrupt:
            say("Stopped. The same command again goes on: what is there already is not taken twice.")
            raise
    print_json(done.result()) if json else _show(done.result())
    if done.bad or done.refused:
        raise typer.Exit(1)


def _named(source: str) -> str:
    """The source, as a ticket may have it."""
    try:
        return TypeAdapter(Name).validate_python(source)
    except ValidationError as error:
        raise typer.BadParameter(f"{message(error.errors()[0])}.", param_hint="--source") from None


@dataclass
class Import:
    """One pass of a file through the API."""

    client: Client
    file: ImportFile
    verdicts: Judged | None
    run_id: str = field(default_factory=lambda: new_id().hex)
    ids: list[str] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    refused: list[Bad] = field(default_factory=list)  # verdicts; their tickets are in
    known: int = 0
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def run(self, *, wait: bool) -> None:
        total = sum(1 for _ in self.file.rows())
        if self.file.ignored:
            say(f"Not posted, because tickets have no such thing: {visible(', '.join(sorted(self.file.ignored)))}.")
        with Progress(console=notes, transient=True) as bars:
            task = bars.add_task("Posting tickets", total=total)
            for batch in batches(self._good()):
                self._post(batch)
                bars.update(task, completed=len(self.ids) + len(self.bad))
            if wait:
                self._wait(bars)

    def _good(self) -> Iterator[Row]:
        for row in self.file.rows():
            if isinstance(row, Row):
                yield row
            else:
                self.bad.append(row)

    def _post(self, rows: list[Row]) -> None:
        """Posts rows as one batch, or in halves where that is too much for the service or its queue."""
        while True:
            answer = self._send(rows)
            if answer.status_code == 429:
                over_http.sleep(retry_after(answer))
            elif answer.status_code != 413 or len(rows) == 1:
                break
            if len(rows) > 1:
                self._post(rows[: len(rows) // 2])
                self._post(rows[len(rows) // 2 :])
                return
        self._settle(rows, answer)

    def _send(self, rows: list[Row]) -> httpx.Response:
        body = f'{{"tickets": [{", ".join(row.text for row in rows)}]}}'
        # Another run has other keys, because the answer to a repeated key does not say what was there before.
        key = f"import-{self.file.sha256[:16]}-{rows[0].line}-{len(rows)}-{self.run_id}"
        return self.client.post("/v1/tickets/batch", body, **{"Idempotency-Key": key})

    def _settle(self, rows: list[Row], answer: httpx.Response) -> None:
        if answer.status_code == 413:
            self.bad.append(Bad(rows[0].line, "it is larger than the service takes."))
            return
        if answer.status_code != 202:
            raise refusal(answer)
        for row, item in zip(rows, read(answer)["items"], strict=True):
            if "error" in item:
                self.bad.append(Bad(row.line, item["error"]["detail"]))
                continue
            self.ids.append(item["id"])
            self.known += "duplicate" in item
            self._judge(row, item["id"])

    def _judge(self, row: Row, ticket_id: str) -> None:
        for name, label in row.labels.items() if self.verdicts else ():
            judged = {"field": self._meant if name == BARE else name, "label": label, "source": self.verdicts}
            answer = self.client.post(f"/v1/tickets/{ticket_id}/verdicts", jsonlib.dumps(judged))
            if answer.status_code == 422:
                self.refused.append(Bad(row.line, f"the ticket is in, its verdict is not: {read(answer)['detail']}"))
            elif answer.status_code not in (200, 201):
                raise refusal(answer)

    @cached_property
    def _meant(self) -> str:
        """The field of plain labels, in the vocabulary that is in force."""
        return meant(self.client.get("/v1/taxonomy")["fields"])

    def _wait(self, bars: Progress) -> None:
        """In the order in which they were posted, which is about that in which they are classified."""
        waiting = Waiting(self.client, self.file.source, self.ids)
        task = bars.add_task("Classifying", total=len(self.ids))
        for ticket in waiting.done():
            now = [(one["field"], one["action"]) for one in ticket["triage"] if one["run"] == ticket["run"]]
            self.outcomes.update((ticket["status"], *decided) for decided in now or [("", "")])
            bars.update(task, advance=1)

    def result(self) -> dict[str, Any]:
        bad = {"bad": _by_line(self.bad), "bad_verdicts": _by_line(self.refused)}
        found = {"tickets": len(self.ids), "known": self.known, **bad}
        outcomes = [
            {"status": status, "field": name or None, "action": action or None, "n": n}
            for (status, name, action), n in sorted(self.outcomes.items())
        ]
        return found | ({"outcomes": outcomes} if outcomes else {})


def _by_line(found: list[Bad]) -> list[dict[str, Any]]:
    return [{"line": bad.line, "error": bad.why} for bad in sorted(found, key=lambda bad: bad.line)]


def _show(result: dict[str, Any]) -> None:
    typer.echo(
        f"Triage has {counted(result['tickets'], 'ticket')} of this file; {result['known']:,} were there already."
    )
    outcomes = result.get("outcomes", [])
    several = len({row["field"] for row in outcomes} - {None}) > 1
    for row in outcomes:
        words = [row["status"], row["field"] if several else None, row["action"]]
        typer.echo(f"{', '.join(word for word in words if word)}: {row['n']:,}")
    _show_bad(result["bad"], "row", "Mend the file")
    _show_bad(result["bad_verdicts"], "verdict", "The tickets themselves are in. Mend the labels")


def _show_bad(bad: list[dict[str, Any]], noun: str, advice: str) -> None:
    for row in bad[:SHOWN]:
        notes.print(f"line {row['line']}: {visible(row['error'])}", style="bold red", highlight=False, soft_wrap=True)
    if bad:
        more = f" The first {SHOWN} are above." if len(bad) > SHOWN else ""
        were = "was" if len(bad) == 1 else "were"
        say(f"{counted(len(bad), noun)} {were} not taken.{more} {advice} and run the same command again.")
