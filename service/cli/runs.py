"""reclassify and requeue: many tickets at once back into the queue, behind new ones."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import ValidationError
from rich.progress import Progress
from sqlalchemy import Engine

from models.db import make_engine
from models.errors import NotFound
from models.moment import moment
from service import settings
from service.cli.common import DataDir, Json, counted, database_url, notes, print_json, redis_url, say
from service.intake.reading import message
from service.logs import configure
from service.pages.form import read_time
from service.queue import Bell
from service.tickets.query import Filters
from service.tickets.runs import BUSY, CHANGED, ERASED, RECLASSIFY, REQUEUE, Selection, Way, count, queue_again

LEFT = {
    "queued": "waiting already",
    "working": "being classified",
    "done": "done, not failed",
    ERASED: "erased, so there is nothing to classify",
    BUSY: "changed by somebody else at this moment; run it again for these",
}


@dataclass(frozen=True)
class Wanted:
    """What one command call asks for."""

    way: Way
    verb: str
    selection: Selection
    agreed: bool


def register(app: typer.Typer) -> None:
    app.command("reclassify", help="Opens a new run of the tickets that match; older runs stay visible.")(
        _command(RECLASSIFY, "get a new run")
    )
    app.command("requeue", help="Gives failed tickets their attempts back: those that match, or all.")(
        _command(REQUEUE, "go back into the queue")
    )


def _command(way: Way, verb: str) -> Callable[..., None]:
    """Both commands take the filters of GET /v1/tickets; of several, a ticket must match all."""

    def command(
        ticket: Annotated[UUID | None, typer.Argument(help="One ticket's id")] = None,
        status: Annotated[str | None, typer.Option(help="queued, working, done or failed")] = None,
        label: Annotated[str | None, typer.Option(help="The label that was decided, by its id")] = None,
        field: Annotated[
            str | None, typer.Option(help="Whose decision is meant by the others [default: category]")
        ] = None,
        llm: Annotated[str | None, typer.Option(help="An llm that took part in the decision, by its name")] = None,
        source: Annotated[str | None, typer.Option(help="Where the ticket came from, as in api or import")] = None,
        external_id: Annotated[str | None, typer.Option(help="The id that its source gave the ticket")] = None,
        min_confidence: Annotated[str | None, typer.Option(help="Decided with this confidence or more, 0 to 1")] = None,
        max_confidence: Annotated[str | None, typer.Option(help="Decided with this confidence or less, 0 to 1")] = None,
        action: Annotated[str | None, typer.Option(help="automate, suggest or review")] = None,
        since: Annotated[str | None, typer.Option(help="Received from this day or time (UTC) on")] = None,
        until: Annotated[str | None, typer.Option(help="Received before this day or time (UTC)")] = None,
        q: Annotated[str | None, typer.Option("--q", help="Words to search for")] = None,
        queued_before: Annotated[
            str | None, typer.Option(help="Queued before this time: goes on where an interrupted call has stopped")
        ] = None,
        everything: Annotated[bool, typer.Option("--all", help="Without any filter: every ticket")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask first")] = False,
        data_dir: DataDir = None,
        json: Json = False,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in Filters.model_fields and value is not None}
        if way is RECLASSIFY and not (given or ticket or everything):
            raise typer.BadParameter("say which tickets, by filters or an id, or --all of them.", param_hint="--all")
        if way is REQUEUE and ticket is None:
            given = {"status": "failed"} | given
        selection = Selection(_filters(**given), ticket, _filters(since=queued_before, named="queued-before").since)
        _run(Wanted(way, verb, selection, yes or ticket is not None), data_dir, as_json=json)

    return command


def _filters(named: str | None = None, **given: str | None) -> Filters:
    """The filters, checked as the API checks them."""
    days = {name: read_time(given.get(name)) for name in ("since", "until")}
    try:
        return Filters.model_validate(given | days)
    except ValidationError as error:
        first = error.errors()[0]
        name = named or str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(f"{message(first)}.", param_hint=f"--{name}") from None


def _run(wanted: Wanted, data_dir: Path | None, *, as_json: bool) -> None:
    found = settings.settings(data_dir=data_dir)
    configure(found.model_copy(update={"log_level": "error"}))
    engine = make_engine(database_url(found), pool_size=1, statement_timeout_s=600)
    try:
        result = _queue(engine, wanted)
    finally:
        engine.dispose()
        _ring(redis_url(found))
    if as_json:
        print_json(result)
    else:
        _show(result)


def _queue(engine: Engine, wanted: Wanted) -> dict[str, Any]:
    """Asks, does it with a progress bar, and says what came of it."""
    matching, began = count(engine, wanted.selection)
    if wanted.selection.ticket_id is not None and not matching:
        raise NotFound(f"There is no ticket {wanted.selection.ticket_id} that matches.")
    if matching and not wanted.agreed:
        _ask(sum(matching.values()), wanted.verb)
    total: Counter[str] = Counter()
    try:
        _work(engine, wanted, total, sum(matching.values()))
    except BaseException:
        if total:
            say(
                f"Stopped after {counted(total[CHANGED], 'ticket')}; "
                f"the same with --queued-before {moment(began)} goes on."
            )
        raise
    return {"matched": total.total(), "queued": total.pop(CHANGED, 0), "left_alone": dict(total)}


def _work(engine: Engine, wanted: Wanted, total: Counter[str], matching: int) -> None:
    with Progress(console=notes, transient=True) as bars:
        task = bars.add_task("Queuing", total=matching)
        for batch in queue_again(engine, wanted.selection, wanted.way):
            total.update(batch)
            bars.update(task, completed=total.total())


def _ask(tickets: int, verb: str) -> None:
    if sys.stdin.isatty():
        typer.confirm(f"{tickets:,} tickets match and {verb}, unless they wait already. Go on?", abort=True, err=True)
    elif tickets > 1:
        raise typer.BadParameter(f"{tickets:,} tickets match: without a terminal, say --yes.", param_hint="--yes")


def _show(result: dict[str, Any]) -> None:
    if not result["matched"]:
        typer.echo("No ticket matches.")
        return
    typer.echo(f"Queued {result['queued']:,} of {counted(result['matched'], 'ticket')}.")
    for what, number in sorted(result["left_alone"].items()):
        typer.echo(f"Left alone: {number:,} {LEFT[what]}.")


def _ring(url: str | None) -> None:
    """Tells the workers; without Redis they look by themselves."""
    if url is not None:
        bell = Bell(url)
        bell.start()
        bell.stop()
