"""report: the A/B report on a terminal or as JSON."""

from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from service import settings
from service.cli.common import DataDir, print_json, screen, store
from service.experiments.report import Window, build

Format = Annotated[Literal["text", "json"], typer.Option("--format", help="For people or for programs")]


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(data_dir: DataDir = None, form: Format = "text") -> None:
    """Which llm does it better: accuracy, confidence and latency of each, and both on the same tickets."""
    policy = settings.load(data_dir=data_dir).config.policy
    with store(data_dir) as session:
        found = build(session, policy.primary, policy.fallback, Window())
    if form == "json":
        print_json(found)
    else:
        show(found)


def show(found: dict[str, Any]) -> None:
    """The report's tables."""
    for pair in found["pair"]:
        verdict = pair["verdict"]
        arms = f"(A = {found['experiment']['a']}, B = {found['experiment']['b']})"
        screen.print(f"[bold]{verdict['word']}[/] {arms}: {verdict['reason']}")
    if not found["pair"]:
        screen.print("[bold]not enough verdicts[/]: no ticket whose shadow coin said yes has a verdict that counts.")
    screen.print(llm_table(found))
    screen.print(time_table(found))


def llm_table(found: dict[str, Any]) -> Table:
    """Accuracy of each llm and of the cascade as served."""
    table = Table(
        "who", "tickets", "accuracy (95 % interval, n)", "mean confidence", "source of truth", title="Accuracy"
    )
    for llm in found["llms"]:
        for row in llm["accuracy"] or [None]:
            name = llm["llm"] + (" (demo)" if llm["demo"] else "")
            table.add_row(
                name, str(llm["n"]), share(row), f"{llm['mean_confidence']:.3f}", row["source"] if row else ""
            )
    cascade = found["cascade"]
    for row in cascade["accuracy"] or [None]:
        table.add_row("cascade as served", str(cascade["n"]), share(row), "", row["source"] if row else "")
    return table


def time_table(found: dict[str, Any]) -> Table:
    """Where the time goes, in milliseconds."""
    table = Table("who", "part", "n", "p50 ms", "p95 ms", title="Latency")
    for llm in found["llms"]:
        for part, row in llm["times"].items():
            table.add_row(llm["llm"], part, str(row["n"]), number(row["p50"]), number(row["p95"]))
    for part, row in found["cascade"]["times"].items():
        table.add_row("cascade as served", part, str(row["n"]), number(row["p50"]), number(row["p95"]))
    return table


def share(row: dict[str, Any] | None) -> str:
    """A proportion with its interval and n, or that it is not measured."""
    if row is None or row["value"] is None:
        return "not measured: no verdicts"
    return f"{row['value']:.3f} ({row['low']:.3f}-{row['high']:.3f}, n={row['n']})"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
