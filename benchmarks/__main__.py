"""The command behind `make bench`: servers, rounds, a table, and benchmarks/results.json."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import results
from benchmarks.bench import NAMES, bench, times
from benchmarks.ratios import Measured, said
from benchmarks.stage import ROOT, Stage, stage
from models.errors import TriageError
from service.embedded import EmbeddedServers
from service.supervisor import Signals

FOLDER = ROOT / ".triage-bench"
RESULTS = ROOT / "benchmarks" / "results.json"
BUSY = 0.25  # load for each core, from where on a machine is no quiet one

screen = Console(width=None if sys.stdout.isatty() else 140)
notes = Console(stderr=True, highlight=False)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds A-B-B-A of each ratio")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of each of a round's four windows")] = 10.0,
    only: Annotated[list[str] | None, typer.Option(help=f"A ratio to measure, of: {', '.join(NAMES)}")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the results go [default: results.json, if all is measured]")
    ] = None,
) -> None:
    """Measures how fast Triage is, as ratios that hold on any machine."""
    wanted = only or NAMES
    if unknown := sorted(set(wanted) - set(NAMES)):
        raise typer.BadParameter(f"There is no ratio {unknown[0]}.", param_hint="--only")
    found = _measure(rounds, seconds, wanted, out or (None if only else RESULTS))
    screen.print(results.table(found))
    screen.print(results.absolute(found))


def _measure(rounds: int, seconds: float, wanted: list[str], out: Path | None) -> dict[str, Any]:
    servers = EmbeddedServers(FOLDER, _say)
    with _tidy(FOLDER), Signals() as signals:
        try:
            with stage(servers.start(), FOLDER) as made:
                return _run(made, rounds, seconds, wanted, out)
        except KeyboardInterrupt:
            _say("Stopping everything that was started ...")
            raise
        finally:
            signals.stopping = True
            servers.stop(lambda: signals.hurry)


@contextmanager
def _tidy(folder: Path) -> Iterator[None]:
    """Removes the folder at the end, after a Ctrl-C too; a failure leaves it, because its logs say why."""
    failed = False
    try:
        yield
    except Exception:
        failed = True
        raise
    finally:
        if not failed:
            shutil.rmtree(folder, ignore_errors=True)


def _run(made: Stage, wanted: int, seconds: float, only: list[str], out: Path | None) -> dict[str, Any]:
    """Every round is kept beside `out` as soon as it is measured, because all of them take an hour and a half."""
    machine = results.machine(made)
    if machine["load_at_start"] > BUSY * (os.cpu_count() or 1):
        _say(f"This machine is busy (load {machine['load_at_start']}): the spread will be wide.")
    done: list[Measured] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} rounds"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=notes, transient=True) as bars:
        task = bars.add_task("Starting", total=sum(times(name, wanted) for name in only))
        for one in bench(made, wanted, seconds, only):
            done.append(one)
            bars.update(task, description=one.name, advance=one.void is None)
            _say(f"{one.name}: {said(one)}")
            if out is not None:
                results.write(_unfinished(out), results.document(machine, done))
    if out is not None and done:
        _unfinished(out).replace(out)
        _say(f"Written to {out}.")
    return results.document(machine, done)


def _unfinished(out: Path) -> Path:
    return out.with_suffix(".part.json")


def _say(sentence: str) -> None:
    notes.print(sentence, style="dim", markup=False, soft_wrap=True)


if __name__ == "__main__":
    try:
        app()
    except TriageError as error:
        sys.exit(f"bench: {error.message}")
    except KeyboardInterrupt:
        sys.exit(130)
