"""taxonomy show, init, lint: the label vocabulary, as stored, drafted from labelled tickets, and looked over."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.markup import escape
from rich.table import Table

from models import taxonomy
from models.errors import ConfigError, InvalidRequest
from models.llm.text import prepare
from models.taxonomy import Taxonomy
from service import settings
from service.cli import ticketfile
from service.cli.common import DataDir, Json, print_json, say, screen, store
from service.cli.taxonomy import llms
from service.settings import Loaded

if TYPE_CHECKING:
    from models.taxonomy_lint import Finding

group = typer.Typer(help="The label vocabulary: show, draft, look over.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="taxonomy")


@group.command()
def show(data_dir: DataDir = None, json: Json = False) -> None:
    """The version that is in force, as predictions name it."""
    with store(data_dir) as session:
        version, found = taxonomy.active(session)
    if json:
        print_json({"version": version} | found.model_dump(by_alias=True))
        return
    table = Table("field", "label", "title", "automated from", "examples", title=f"Taxonomy version {version}")
    for name, field in found.fields_.items():
        for label in field.labels:
            threshold = "" if label.automate_at is None else f"{label.automate_at:g}"
            table.add_row(name, label.id, escape(label.title), threshold, str(len(label.examples)))
    screen.print(table)


@group.command()
def init(
    data: Annotated[Path, typer.Option(help="JSONL or CSV with body and label (a text, or field -> label)")],
    out: Annotated[Path, typer.Option(help="The YAML file to write; never one that is there")],
) -> None:
    """Drafts a vocabulary from labelled tickets. Its examples are texts of theirs: read them before you share it."""
    if out.exists():
        raise ConfigError(f"{out} exists already: choose another name.")
    draft_to(out, data)
    say(f"Wrote {out}. Describe each label in a sentence, then run triage taxonomy lint {out}.")


def draft_to(out: Path, data: Path) -> None:
    """Writes the draft; init needs one too."""
    from models.taxonomy_draft import draft  # scikit-learn takes a second to load

    found = draft(_labelled(data))
    out.write_text(_yaml(found), encoding="utf-8")
    for name, field in found.fields_.items():
        say(f"{name}: {len(field.labels)} labels.")


@group.command()
def lint(
    file: Annotated[Path | None, typer.Argument(help="A taxonomy file [default: that of triage.yaml]")] = None,
    vram_gib: Annotated[float | None, typer.Option(help="Memory of the GPU that holds the llms, in GiB", min=1)] = None,
    json: Json = False,
) -> None:
    """What is weak and what to do about it; exit 1 when an llm cannot answer the taxonomy that triage.yaml names."""
    from models.taxonomy_lint import lint as findings  # scikit-learn takes a second to load

    served = _served(file)
    vocabulary = taxonomy.load(file or settings.load().taxonomy_path)
    found = findings(vocabulary, llms.asked(served, vocabulary) if served else [], vram_gib)
    if json:
        print_json([{name: getattr(one, name) for name in ("level", "place", "what", "do")} for one in found])
    else:
        _print(found)
    if any(one.level == "error" for one in found):
        raise typer.Exit(1)


def _served(file: Path | None) -> Loaded | None:
    """triage.yaml, where the file is its taxonomy: no llm has to know the labels of a draft, and none need be there."""
    if file is not None and not settings.settings().config.is_file():
        return None
    loaded = settings.load()
    return loaded if file is None or file.resolve() == loaded.taxonomy_path.resolve() else None


def _print(found: "list[Finding]") -> None:
    for one in found:
        screen.print(f"[bold]{one.level}[/] {one.place}: {escape(one.what)}; {escape(one.do)}.", soft_wrap=True)
    if not found:
        screen.print("Nothing to mend.")


def _labelled(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    for ticket in ticketfile.read(path):
        text = prepare(ticket.get("subject") or "", ticket["body"]).text
        yield text, _labels(ticket.get("label"))


def _labels(value: Any) -> Mapping[str, str]:
    """field -> label; a bare text is the category, nothing is nothing."""
    labels = value if isinstance(value, dict) else {"category": value} if value else {}
    if not all(isinstance(part, str) for pair in labels.items() for part in pair):
        raise InvalidRequest("`label` must be a text, or an object of field -> text.")
    return {field: label for field, label in labels.items() if label}


def _yaml(found: Taxonomy) -> str:
    document = found.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    for field, shown in zip(found.fields_.values(), document["fields"].values(), strict=True):
        shown["labels"] = [
            {"id": label.id, "title": label.title, "description": "", "examples": list(label.examples)}
            for label in field.labels
        ]
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
