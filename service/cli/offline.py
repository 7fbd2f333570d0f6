"""init and classify: what works without a database."""

import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from models import taxonomy
from models.errors import ConfigError
from service import settings
from service.cli import ticketfile
from service.cli.common import notes, say
from service.config import PolicyConfig
from service.logs import configure
from service.settings import DEMO_LLMS, Loaded

if TYPE_CHECKING:
    from workers.llms import Llms

AHEAD = 64  # tickets in work while earlier ones are written


def register(app: typer.Typer) -> None:
    app.command()(init)
    app.command()(classify)


def init(folder: Annotated[Path, typer.Argument(help="Where to write the two files")] = Path()) -> None:
    """Writes a triage.yaml and a taxonomy.yaml to start from; never over files that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("triage.yaml", "taxonomy.yaml"):
        if (folder / name).exists():
            raise ConfigError(f"{folder / name} exists already: choose another folder, or move it away first.")
    for name in ("triage.yaml", "taxonomy.yaml"):
        shutil.copyfile(DEMO_LLMS / name, folder / name)
    say(f"Wrote triage.yaml and taxonomy.yaml to {folder.resolve()}; they use the demo llms until you name your own.")


def classify(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSONL or CSV with body, and if you like id or external_id, subject; - reads JSONL from standard input"
        ),
    ],
    llm: Annotated[str | None, typer.Option(help="Ask only this llm of triage.yaml, not the cascade")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl or .csv file; without it standard output")] = None,
) -> None:
    """Classifies a file of tickets, without a database."""
    loaded = settings.load()
    configure(loaded.settings.model_copy(update={"log_level": "warning"}))
    policy = _policy(loaded, llm)
    form = (out or file).suffix
    if out is not None and form not in ticketfile.FORMS:
        raise ConfigError(f"--out must end in {' or '.join(ticketfile.FORMS)}.")
    if out is not None and out.exists():
        raise ConfigError(f"{out} exists already: choose another name.")
    tickets = list(ticketfile.read(file))
    ticketfile.write(_classified(loaded, policy, tickets, flat=form == ".csv"), out, form)


def _policy(loaded: Loaded, llm: str | None) -> PolicyConfig:
    """The policy as served, or one llm alone."""
    if llm is None:
        return loaded.config.policy
    if llm not in loaded.config.llms:
        raise ConfigError(f"There is no llm {llm!r} in triage.yaml; there are: {', '.join(loaded.config.llms)}.")
    return PolicyConfig(primary=llm, escalate_below=loaded.config.policy.escalate_below)


def _classified(
    loaded: Loaded, policy: PolicyConfig, tickets: list[dict[str, Any]], *, flat: bool
) -> Iterator[dict[str, Any]]:
    from workers.llms import Llms  # only this command needs engines

    vocabulary = taxonomy.load(loaded.taxonomy_path)
    with tempfile.TemporaryDirectory(prefix="triage-llm-") as sockets:
        llms = Llms(loaded, policy.llms, Path(sockets))
        try:
            if not llms.load():
                raise ConfigError("; ".join(f"{one.name}: {one.error}" for one in llms.all.values() if one.error))
            answers = _in_order(llms, policy, vocabulary, tickets)
            for ticket, fields in zip(tickets, track(answers, "Classifying", len(tickets), console=notes), strict=True):
                yield _row(ticket, fields, flat=flat)
        finally:
            llms.close()


def _in_order(
    llms: "Llms", policy: PolicyConfig, vocabulary: taxonomy.Taxonomy, tickets: list[dict[str, Any]]
) -> Iterator[Any]:
    from workers.classify import classify as ask

    with ThreadPoolExecutor(llms.parallel) as pool:
        waiting: deque[Future[Any]] = deque()
        for ticket in tickets:
            subject = ticket.get("subject") or ""
            waiting.append(pool.submit(ask, policy, llms, vocabulary, subject, ticket["body"]))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _row(ticket: dict[str, Any], fields: dict[str, Any], *, flat: bool) -> dict[str, Any]:
    """What is written for one ticket: its id, and per field the label, its confidence and what to do."""
    names = ("label", "confidence", "calibrated", "action", "reason", "llms")
    answers = {name: {key: getattr(outcome.decision, key) for key in names} for name, outcome in fields.items()}
    row = {"id": ticket.get("id", ticket.get("external_id"))}
    if not flat:
        return row | {"triage": answers}
    return row | {f"{name}_{key}": answer[key] for name, answer in answers.items() for key in names[:-1]}
