"""train linear: an llm for a team's own queues from its labelled tickets, on the CPU, in seconds to minutes."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from models import taxonomy
from models.errors import ConfigError, InvalidRequest
from models.llm.card import sha256
from models.taxonomy import Taxonomy
from service.cli import ticketfile
from service.cli.common import notes, say, screen
from service.cli.evaluate import labelled
from service.cli.evaluate.labelled import Labelled

if TYPE_CHECKING:
    from models.llm.linear.training import Example, Report, Trained

ENOUGH = 300
group = typer.Typer(help="Trains an llm from labelled tickets.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="train")


@group.callback()
def train() -> None:
    """Trains an llm from labelled tickets."""


@group.command()
def linear(
    taxonomy_file: Annotated[Path, typer.Option("--taxonomy", help="The YAML file with the labels")],
    data: Annotated[Path, typer.Option(help="JSONL or CSV with body and label (a text, or field -> label)")],
    out: Annotated[Path, typer.Option(help="The folder to write; it must not be there yet")],
) -> None:
    """Trains the linear engine, calibrates it by cross-validation, and writes it with its card."""
    learn(taxonomy_file, data, out)
    _how_to_use(out)


def learn(taxonomy_file: Path, data: Path, out: Path, again: Mapping[int, Path] = MappingProxyType({})) -> "Trained":
    """The same for init, and for evaluate, whose folders do not stay. `again` is seed -> folder: with other folds."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists already: choose another name.")
    vocabulary = taxonomy.load(taxonomy_file)
    examples = _examples(data, vocabulary)
    trained = _trained(examples, vocabulary)

    from models.llm.linear.writing import write  # scikit-learn takes a second to load

    origin = {
        "data": data.name,
        "data_sha256": sha256(data),
        "taxonomy": taxonomy_file.name,
        "taxonomy_sha256": sha256(taxonomy_file),
        "n": len(examples),
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write(trained, out, origin)
    for seed, folder in again.items():
        write(_trained(examples, vocabulary, seed), folder, origin)
    for name, report in trained.reports.items():
        _print(name, report)
    return trained


def _examples(data: Path, vocabulary: Taxonomy) -> "list[Example]":
    """The rows that can teach something; says which cannot, and why."""
    from models.llm.linear.training import Example  # scikit-learn takes a second to load

    rows, beside = labelled.read(data, vocabulary)
    for field in sorted(beside):
        say(f"Labels of the field {field} are not read: the taxonomy has no such field.")
    found, empty, outside = [], [], []
    for (number, ticket), row in zip(_tickets(data), rows, strict=True):
        labels = _known(row, vocabulary)
        if not row.text:
            empty.append(number)
        elif not labels:
            outside.append(number)
        else:
            found.append(Example(row.text, labels, _time(ticket.get("created_at"), f"{data.name}, line {number}")))
    _refused("nothing is left of the text after cleaning", empty)
    _refused("the label means none of the taxonomy's, and the taxonomy has none such", outside)
    return found


def _trained(examples: "list[Example]", vocabulary: Taxonomy, seed: int = 0) -> "Trained":
    from models.llm.linear import training  # scikit-learn takes a second to load

    fields = {name: [label.id for label in field.labels] for name, field in vocabulary.fields_.items()}
    with Progress(console=notes) as bars:
        bar = bars.add_task(f"Training on {len(examples):,} tickets", total=training.FITS * len(fields))
        return training.train(examples, fields, labelled.OUTSIDE, lambda done: bars.advance(bar, done), seed)


def _known(row: Labelled, vocabulary: Taxonomy) -> Mapping[str, str]:
    return {name: label for name, label in row.labels.items() if vocabulary.fields_[name].label(label) is not None}


def _tickets(data: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same rows again, for what training alone reads; that they are well has been seen."""
    for number, found in ticketfile.numbered(data):
        if not isinstance(found, InvalidRequest):
            yield number, found


def _time(value: Any, place: str) -> float | None:
    if value in (None, ""):
        return None
    try:
        return float(datetime.fromisoformat(value).astimezone(UTC).timestamp())
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequest(f"{place}: `created_at` must be a time like 2026-11-21T09:30:00Z.") from None


def _refused(why: str, lines: list[int]) -> None:
    if lines:
        shown = ", ".join(map(str, lines[:20])) + (" ..." if len(lines) > 20 else "")
        say(f"Left out, because {why}: {len(lines)} (line {shown}).")


def _print(name: str, report: "Report") -> None:
    _line(f"{name}: {report.n:,} tickets, {len(report.labels)} labels")
    table = Table("label", "tickets")
    for label, n in report.labels.items():
        table.add_row(escape(label), f"{n:,}")
    screen.print(table)
    share, ece = report.accuracy, report.ece
    _line(f"Measured on {report.judged_on}; near-duplicates stay together ({report.n - report.groups:,} of them).")
    _line(f"accuracy    {share.value:.3f} (95 % {share.low:.3f} to {share.high:.3f}, n {share.n:,})")
    _line(f"confidence  {report.mean_confidence:.3f} on average")
    _line(
        f"ECE         {ece.value:.3f}, {ece.debiased:+.3f} beyond chance ({ece.null_mean:.3f}, p95 {ece.null_p95:.3f})"
    )
    _line(f"NLL         {report.nll_before:.3f} before the temperature, {report.nll:.3f} with it")
    _line(_temperature(report))


def _temperature(report: "Report") -> str:
    if report.temperature is None:
        why = f"{report.n_judged} tickets are too few to calibrate on, it takes 100."
        if (report.accuracy.high or 0.0) < 1 / len(report.labels):
            why = "it is right less often than by guessing. Has each label more than near-duplicates of one ticket?"
        return f"T           none: {why} The llm counts as uncalibrated, and every ticket goes to review."
    few = f"; from {report.n_judged} tickets only, {ENOUGH} would be better" if report.n_judged < ENOUGH else ""
    return f"T           {report.temperature:.3f} (C {report.strength:g} had the least NLL){few}"


def _how_to_use(out: Path) -> None:
    _line(f"\nWrote {out}. To use it, put these two lines into triage.yaml (paths are relative to that file):\n")
    _line("engines: {cpu: {kind: linear}}")
    _line(f"llms: {{linear: {{engine: cpu, model: {out}}}}}")


def _line(text: str) -> None:
    screen.print(text, markup=False, highlight=False, soft_wrap=True)
