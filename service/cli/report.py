"""report: the A/B report of an experiment on a terminal, as JSON, as CSV, or as one HTML file."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from models import taxonomy
from models.db import make_engine, transaction
from models.taxonomy import Taxonomy
from service import settings
from service.cli.common import DataDir, database_url, print_json, screen, visible
from service.experiments import kept
from service.experiments.report import Window, build
from service.experiments.spreadsheet import as_csv

Format = Annotated[
    Literal["text", "json", "html", "csv"], typer.Option("--format", help="For people, for programs, or a file to keep")
]
Named = Annotated[str | None, typer.Option("--experiment", help="One of triage.yaml [default: the running one]")]

TIMEOUT_S = 600
CATCH_UP_S = 600.0  # there may be no API process that counts what has changed


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(data_dir: DataDir = None, experiment: Named = None, form: Format = "text") -> None:
    """Which llm does it better: accuracy, confidence and latency of each, and A against B on the same tickets."""
    found, vocabulary = _read(data_dir, experiment)
    if form == "json":
        print_json(found)
    elif form == "csv":
        typer.echo(as_csv(found), nl=False)
    elif form == "html":
        from service.pages import document  # with the web framework, which no other form needs

        typer.echo(document.render(found, vocabulary), nl=False)
    else:
        show(found)


def _read(data_dir: Path | None, name: str | None) -> tuple[dict[str, Any], Taxonomy]:
    config = settings.load(data_dir=data_dir).config
    engine = make_engine(database_url(settings.settings(data_dir=data_dir)), pool_size=1, statement_timeout_s=TIMEOUT_S)
    try:
        with transaction(engine) as session:
            asked, vocabulary = kept.asked_for(session, config, name), taxonomy.active(session)[1]
        return build(engine, asked, Window(), catch_up_s=CATCH_UP_S), vocabulary
    finally:
        engine.dispose()


def show(found: dict[str, Any]) -> None:
    """The report's tables."""
    for note in found["counted"]["notes"]:
        screen.print(note)
    for line in conclusions(found):
        screen.print(line)
    if found["arms"]:
        screen.print(arm_table(found))
    screen.print(llm_table(found))
    screen.print(time_table(found))


def conclusions(found: dict[str, Any]) -> list[str]:
    """What is concluded from each source of truth, in rich's markup."""
    names = [visible(_arm(found["experiment"], name)) for name in ("a", "b")]
    arms = f"(A = {names[0]}, B = {names[1]})"
    return [f"[bold]{one['sentence']}[/] {arms}: {visible(one['reason'])}" for one in found["conclusions"]]


def _arm(experiment: dict[str, Any], name: str) -> str:
    """The llm of an arm; in a split all of its policy, since both arms may begin with the same llm."""
    arm = experiment["arms"][name]
    if arm is None or experiment["mode"] != "split":
        return experiment[name] or "nobody"
    helped = f", below {arm['escalate_below']:g} with {arm['fallback']}" if arm["fallback"] else " alone"
    return f"{arm['primary']}{helped}"


def arm_table(found: dict[str, Any]) -> Table:
    """What each arm of a split was given and did with it."""
    table = Table(
        "arm", "tickets", "requesters", "decided", "served as assigned", "accuracy (95 % interval, n)", title="Arms"
    )
    for name, arm in found["arms"].items():
        counts = [f"{arm[part]:,}" for part in ("tickets", "units", "decided", "served_as_assigned")]
        for row in arm["accuracy"] or [None]:
            table.add_row(name.upper(), *counts, share(row))
    return table


def llm_table(found: dict[str, Any]) -> Table:
    """Accuracy of each llm and of the cascade as served."""
    table = Table(
        "who", "tickets", "accuracy (95 % interval, n)", "mean confidence", "source of truth", title="Accuracy"
    )
    for llm in found["llms"]:
        name = visible(llm["llm"]) + (" (demo)" if llm["demo"] else "")
        sure = "" if llm["mean_confidence"] is None else f"{llm['mean_confidence']:.3f}"
        for row in llm["accuracy"] or [None]:
            table.add_row(name, str(llm["n"]), share(row, llm["mean_confidence_n"]), sure, row["source"] if row else "")
    cascade = found["cascade"]
    for row in cascade["accuracy"] or [None]:
        table.add_row("cascade as served", str(cascade["n"]), share(row), "", row["source"] if row else "")
    return table


def time_table(found: dict[str, Any]) -> Table:
    """Where the time goes, in milliseconds."""
    table = Table("who", "part", "n", "p50 ms", "p95 ms", title="Latency")
    for llm in found["llms"]:
        for part, row in llm["times"].items():
            table.add_row(visible(llm["llm"]), part, str(row["n"]), number(row["p50"]), number(row["p95"]))
    for part, row in found["cascade"]["times"].items():
        table.add_row("cascade as served", part, str(row["n"]), number(row["p50"]), number(row["p95"]))
    return table


def share(row: dict[str, Any] | None, comparable: int | None = None) -> str:
    """A proportion with its interval and n, or why it is not measured; `comparable` answers could have been."""
    if comparable == 0:
        return "not measured: asked only where another was unsure or could not answer"
    if row is None or row["value"] is None:
        return "not measured: no verdicts"
    return f"{row['value']:.3f} ({row['low']:.3f}-{row['high']:.3f}, n={row['n']})"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
