"""retention: old tickets are deleted with all that was said of them."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from sqlalchemy import Engine

from models.db import make_engine
from models.moment import moment
from service import settings
from service.cli.common import DataDir, Json, counted, database_url, notes, print_json, say
from service.tickets.retention import count, delete_old, limit

TIMEOUT_S = 600


def register(app: typer.Typer) -> None:
    app.command()(retention)


def retention(
    months: Annotated[int, typer.Option(min=1, max=1200, help="Delete what was received longer ago than this")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many there are")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first; needed without a terminal")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Deletes old tickets for good, with their predictions, decisions, verdicts and older texts. The same goes on."""
    result = _with_engine(data_dir, months, dry_run=dry_run, agreed=yes)
    if json:
        print_json(result)
    else:
        _show(result, months)


def _with_engine(data_dir: Path | None, months: int, *, dry_run: bool, agreed: bool) -> dict[str, Any]:
    url = database_url(settings.settings(data_dir=data_dir))
    engine = make_engine(url, pool_size=1, statement_timeout_s=TIMEOUT_S)
    try:
        before = limit(engine, months)
        old, on_their_way = count(engine, before)
        if old and not dry_run:
            _ask(old, before, agreed)
            deleted = _delete(engine, before, old)
            left, on_their_way = count(engine, before)
        else:
            deleted, left = 0, old
    finally:
        engine.dispose()
    found = {"before": moment(before), "matched": old, "deleted": deleted, "dry_run": dry_run}
    return found | {"left": left, "on_their_way": on_their_way}


def _ask(old: int, before: datetime, agreed: bool) -> None:
    if agreed:
        return
    if not sys.stdin.isatty():
        what = f"{counted(old, 'ticket')} would be deleted for good: without a terminal, say --yes."
        raise typer.BadParameter(what, param_hint="--yes")
    what = f"{counted(old, 'ticket')} received before {moment(before)} will be deleted for good. Go on?"
    typer.confirm(what, abort=True, err=True)


def _delete(engine: Engine, before: datetime, old: int) -> int:
    deleted = 0
    try:
        with Progress(console=notes, transient=True) as bars:
            task = bars.add_task("Deleting", total=old)
            for number in delete_old(engine, before):
                deleted += number
                bars.update(task, completed=deleted)
    except BaseException:
        say(f"Stopped after {counted(deleted, 'ticket')}; the same command goes on.")
        raise
    return deleted


def _show(result: dict[str, Any], months: int) -> None:
    old = f"received more than {counted(months, 'month')} ago"
    if result["dry_run"]:
        typer.echo(f"{counted(result['matched'], 'ticket')} {old} would be deleted.")
    else:
        typer.echo(f"Deleted {counted(result['deleted'], 'ticket')} {old}.")
        if result["left"]:
            typer.echo(f"Left alone: {result['left']:,} in use at this moment; run it again for these.")
    if result["on_their_way"]:
        typer.echo(f"Left alone: {result['on_their_way']:,} that wait or are being classified.")
