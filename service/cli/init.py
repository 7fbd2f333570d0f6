"""init: the files to start from; from labelled tickets also an llm that learned from them and serves at once."""

import os
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import ConfigError
from service.cli import train
from service.cli.common import counted, say
from service.cli.taxonomy import command as vocabulary
from service.settings import DEMO_LLMS

if TYPE_CHECKING:
    from models.llm.linear.training import Trained

FILES = ("triage.yaml", "taxonomy.yaml")
LINEAR = "models/linear"
CONFIG = """\
# What Triage does. Paths are relative to this file. The llm learned from your tickets: triage init --data made it.
taxonomy: taxonomy.yaml
engines:
  cpu: {kind: linear}
llms:
  linear: {engine: cpu, model: models/linear}
policy: {primary: linear, escalate_below: 0.80}
connections: []
"""


def register(app: typer.Typer) -> None:
    app.command()(init)


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write the files")] = Path(),
    data: Annotated[
        Path | None,
        typer.Option(help="Your labelled tickets, JSONL or CSV with body and label: an llm learns from them"),
    ] = None,
) -> None:
    """Writes a triage.yaml and a taxonomy.yaml to start from; never over files that are there."""
    for name in (*FILES, *([LINEAR] if data else [])):
        if (folder / name).exists():
            raise ConfigError(f"{folder / name} exists already: choose another folder, or move it away first.")
    if data is not None:
        _from_tickets(folder, data)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(DEMO_LLMS / name, folder / name)
    say(f"Wrote triage.yaml and taxonomy.yaml to {folder.resolve()}; they use the demo llms until you name your own.")
    _say_next(folder)


def _from_tickets(folder: Path, data: Path) -> None:
    """All of it is made beside its place first, so that a file that cannot teach leaves nothing behind."""
    beside = next(place for place in (folder, *folder.parents) if place.exists())
    with tempfile.TemporaryDirectory(prefix=".triage-init-", dir=beside) as place:
        made = Path(place)
        vocabulary.draft_to(made / "taxonomy.yaml", data)
        trained = train.learn(made / "taxonomy.yaml", data, made / LINEAR)
        (made / "triage.yaml").write_text(CONFIG, encoding="utf-8")
        (folder / LINEAR).parent.mkdir(parents=True, exist_ok=True)
        for name in (LINEAR, *reversed(FILES)):
            os.rename(made / name, folder / name)
    _say_what_is_there(folder, trained)


def _say_what_is_there(folder: Path, trained: "Trained") -> None:
    say(f"\nWrote triage.yaml, taxonomy.yaml and {LINEAR} to {folder.resolve()}.")
    for name, report in trained.reports.items():
        share = f"{report.accuracy.value:.1%} of {counted(report.accuracy.n, 'ticket')} that it had not seen"
        say(f"Field {name}: the llm is right on {share}" + (_UNSURE if report.temperature is None else "."))
    say("Nothing is automated until a label has an automate_at. The examples in taxonomy.yaml and the words in the llm")
    say("are from your tickets: keep them where the tickets may be kept. Describe each label there.")
    _say_next(folder)


def _say_next(folder: Path) -> None:
    here = folder.resolve() == Path.cwd()
    say("Next: " + ("" if here else f"TRIAGE_CONFIG={shlex.quote(str(folder / FILES[0]))} ") + "triage up")


_UNSURE = ", but too few tickets to say how sure it is: all go to review."
